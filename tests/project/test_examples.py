"""Examples in docstrings run, and show what they say."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from tests.helpers.example_files import make_files

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("supernet", "search", "retrain")
    for path in (ROOT / folder).rglob("*.py")
    if "    >>> " in path.read_text()
)
API = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference/api.md").read_text(), flags=re.MULTILINE)
SHOWN_ELSEWHERE = {
    "search.api.Found": "search",
    "retrain.api.Trained": "retrain",
    "retrain.recipe_module.RecipeModule": "RetrainModule",
    "supernet.data.containers.hugging_face.HuggingFace": "docs/data.md: it needs its library",
    "supernet.data.containers.web_dataset.WebDataset": "docs/data.md: it needs shards",
    "supernet.data.stored_images.StoredImages": "ImageFolder",
    "supernet.network.checkpoint.load_network": "it reads a training",
    "supernet.network.checkpoint.read_trained": "it reads a training",
}
"""Definitions of the page without an example of their own, and what shows them."""
NUM_SHOWN = 60
"""Definitions that have an example, at least."""
TRAINS = re.compile(r"\b(search|retrain|export|found|trained)\b")
"""What an example must have to do with that is not run."""


def examples(path):
    """Examples of a module's docstrings."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return [one for one in doctest.DocTestFinder().find(module) if one.examples]


@pytest.fixture
def _in_a_folder(tmp_path, monkeypatch):
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_in_a_folder")
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_show_what_they_say(path):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said = []
    for one in examples(path):
        runner.run(one, out=said.append)
        left_out = [part.source for part in one.examples if doctest.SKIP in part.options]
        assert all(map(TRAINS.search, left_out))
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_what_the_page_of_calls_shows_is_there_and_has_examples():
    without = set()
    for name in API:
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        texts = (found.__doc__, getattr(found.__init__, "__doc__", ""))
        without |= set() if any(">>> " in str(text) for text in texts) else {name}
    assert len(API) > 35
    assert without == SHOWN_ELSEWHERE.keys()


def test_there_are_examples_to_learn_from():
    heads = re.compile(r"^ +Examples:$", re.MULTILINE)
    assert sum(len(heads.findall(path.read_text())) for path in FILES) >= NUM_SHOWN
