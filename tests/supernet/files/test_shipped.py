"""Shipped configs by name, from any folder."""

from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.files.shipped import closest, config_file, shipped_configs

CONFIGS = Path(__file__).parents[3] / "configs"


def test_every_config_of_the_repository_has_a_name_but_those_of_sweeps():
    names = {str(path.relative_to(CONFIGS))[:-5] for path in CONFIGS.rglob("*.yaml")}
    names = {name for name in names if not name.startswith("sweeps/")}
    assert set(shipped_configs()) == names
    assert "digits/search" in names


@pytest.mark.parametrize(
    "text", ["digits/search", "configs/digits/search.yaml", "digits/search.yaml"]
)
def test_a_name_may_be_written_as_the_path_in_a_checkout(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_file(text) == CONFIGS / "digits" / "search.yaml"


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path("digits/search")
    own.parent.mkdir()
    own.write_text("run: mine")
    assert config_file("digits/search") == own


@pytest.mark.parametrize("text", ["digits/serch", "serch", "~nobody/x", "a" * 5000, "a\0b"])
def test_another_name_is_refused_with_those_that_there_are(text):
    with pytest.raises(UserError, match="closest are") as refused:
        config_file(text)
    assert "(and " in str(refused.value)


def test_the_closest_name_stands_first():
    assert closest("digits/serch").startswith("digits/search, ")
    assert closest("space/paper").startswith("spaces/paper, ")
