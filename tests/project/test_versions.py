"""Versions of what the program needs: those it was tested with, and the lowest that it allows."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PINNED = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)
lowest_versions = runpy.run_path(str(ROOT / ".ci" / "lowest_versions.py"))["lowest_versions"]
LOWEST = dict(pin.split("==") for pin in lowest_versions(PYPROJECT))


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_that_is_needed_is_pinned_within_its_bounds():
    pinned = {plain(name): version for name, version in PINNED.items()}
    project = tomllib.loads(PYPROJECT)["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, needed):
        assert pinned[plain(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("pytorch-lightning", "2.6.6"),  # CVE-2026-58659
        ("torch", "2.10"),  # CVE-2026-24747
        ("scikit-learn", "1.5"),  # CVE-2024-5206
        ("setuptools", "78.1.1"),  # CVE-2025-47273
    ],
)
def test_no_version_with_a_known_hole_is_allowed(name, fixed):
    assert Version(LOWEST[name]) >= Version(fixed)


def test_lowest_versions_are_those_of_every_requirement():
    text = '[build-system]\nrequires = ["a>=1"]\n[project]\ndependencies = ["b-c[x,y]>=2.3,<4"]\n'
    extras = '[project.optional-dependencies]\ndev = ["d>=5", "a>=1"]\n'
    assert lowest_versions(text + extras) == ["a==1", "b-c==2.3", "d==5"]
    with pytest.raises(ValueError, match="e has no lowest version"):
        lowest_versions((text + extras).replace('"a>=1"]\n[pro', '"e"]\n[pro'))
