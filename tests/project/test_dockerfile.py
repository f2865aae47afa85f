"""The Dockerfile: what it copies is there and is all the program needs, and its base is chosen."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"supernet", "search", "retrain", "configs"}
BUILT_FROM = PACKAGES | {"pyproject.toml", "README.md", "LICENSE"}
"""What test_wheel.py builds a whole wheel from."""


@pytest.fixture
def steps():
    parse = pytest.importorskip("dockerfile_parse", reason="needs pip install -e '.[dev]'")
    parser = parse.DockerfileParser(path=str(ROOT / "Dockerfile"))
    assert parser.baseimage.startswith("python:3.")
    return [(step["instruction"], step["value"]) for step in parser.structure]


def values(steps, instruction):
    return [value for name, value in steps if name == instruction]


def test_what_is_copied_is_what_the_wheel_is_built_from(steps):
    copied = {name for value in values(steps, "COPY") for name in value.split()[:-1]}
    assert copied == BUILT_FROM | {"constraints.txt"}
    assert all((ROOT / name).exists() for name in copied)
    folders = [value.split() for value in values(steps, "COPY") if len(value.split()) == 2]
    assert [target for _, target in folders] == [f"/source/{source}" for source, _ in folders]


def test_the_base_is_an_argument_that_the_image_is_made_of(steps):
    names = [value.partition("=")[0] for value in values(steps, "ARG")]
    assert names[0] == "BASE"
    assert values(steps, "FROM") == ["${BASE}"]
    runs = " ".join(values(steps, "RUN"))
    assert [name for name in names[1:] if f"${{{name}" not in runs] == []


def test_the_program_runs_as_no_root_from_a_folder_that_its_user_owns(steps):
    (user,) = values(steps, "USER")
    (made,) = [value for value in values(steps, "RUN") if "useradd" in value]
    assert f"--uid {user} " in made
    assert int(user) > 1000  # Ubuntu's bases have a user 1000
    assert values(steps, "WORKDIR")[0] == re.search(r"--owner mnasnet (\S+)", made)[1]
    (entry,) = values(steps, "ENTRYPOINT")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert entry.strip('[]"') in scripts
