"""The reference is of today's commands and files."""

import re
from pathlib import Path

import pytest

from docs.options import files
from docs.reference_pages import FOLDER
from supernet.command.console import COMMANDS
from supernet.command.early import is_current
from tests.helpers.documented import PAGE, is_told, told_of, undocumented, unnamed

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "samples" / "fa87f1f"
WRITTEN = sorted([*OLD.glob("*/*.json"), *OLD.glob("*/samples.csv")])
BY_HAND = ("files.md", "api.md")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.skipif(not is_current(), reason="the list is of other versions of the libraries")
def test_what_is_generated_is_of_todays_parsers():
    made = dict(files())
    old = [path.name for path, text in made.items() if path.read_text() != text]
    assert old == [], "run python -m docs.options"
    pages = {path for path in FOLDER.iterdir() if path.name not in BY_HAND}
    assert pages == {path for path in made if path.parent == FOLDER}
    assert {f"{name}.md" for name in COMMANDS} <= {path.name for path in pages}


def test_a_page_tells_of_every_setting_its_type_its_default_and_its_meaning():
    page = (FOLDER / "search.md").read_text()
    rows = re.findall(r"^\| `(--.+?)` \| (.*) \| (.*) \| (.*) \|$", page, flags=re.MULTILINE)
    told = {name: rest for name, *rest in rows}
    assert len(told) > 120
    assert told["--model.space.kernels"][:2] == ["list of whole numbers", "`[3, 5]`"]
    assert told["--run"][1] == "required"
    assert [name for name, (value, _, meaning) in told.items() if not (value and meaning)] == []


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: "-".join(path.parts[-2:]))
def test_every_field_of_an_old_file_stands_on_the_page(path):
    assert undocumented(path) == set()


def test_every_field_of_an_old_table_stands_on_the_page():
    assert undocumented(OLD / "table.json", "Latency table") == set()


@pytest.mark.parametrize(
    ("place", "stands"),
    [
        (("points", "[]", "cost"), True),
        (("points",), True),
        (("points", "[]", "speed"), False),
        (("targets", "0.8x mnasnet_a1"), True),
        (("speed",), False),
    ],
)
def test_a_field_that_the_page_lacks_is_seen(place, stands):
    assert is_told(place, told_of("pareto.json")) is stands


def test_a_file_that_the_page_lacks_is_seen(tmp_path):
    for name in ("arch-p20.json", "tunings-rank3.jsonl", "wandb_id", "speed.json"):
        (tmp_path / name).touch()
    assert unnamed(tmp_path) == {"speed.json"}


def test_every_heading_of_the_page_that_names_a_file_has_fields():
    names = re.findall(r"^### (\S+\.(?:json|csv))$", PAGE.read_text(), flags=re.MULTILINE)
    assert len(names) > 10
    assert [name for name in names if not told_of(name)] == []
