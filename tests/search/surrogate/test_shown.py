"""A search by tunings without shared weights: all that it shows, and that it shows again."""

import json

import pytest

from tests.helpers.tiny import TUNED_OPTIONS
from tests.helpers.wandb_run import FakeRun


@pytest.fixture
def shown(search, tiny_search, tmp_path, monkeypatch, capsys):
    """A finished search: its folder, what it printed, and what W&B was told."""
    fake = FakeRun()
    monkeypatch.setattr("wandb.init", lambda **_: fake)
    # So that it proposes, and as if for nothing.
    monkeypatch.setattr("search.surrogate.regression.Ridge.tells", True)
    monkeypatch.setattr("search.surrogate.alarms.CHANCE", -1)
    search(*tiny_search, *TUNED_OPTIONS, "--wandb.mode", "offline")
    return tmp_path / "run", capsys.readouterr().out, fake


def test_what_a_search_knows_is_shown_and_stays_when_it_is_continued(
    shown, search, tiny_search, capsys
):
    run, printed, fake = shown
    assert "no weights were shared: each of the" in printed
    assert "learned from 12 networks" in printed
    assert "expected beyond a random network of its cost" in printed
    assert "alarm: nothing shows that the surrogate tells" in printed
    assert "surrogate blind" in fake.alerts
    figures, tables = fake.logged[-3], {**fake.logged[-2], **fake.logged[-1]}
    names = {path.stem for path in (run / "figures").iterdir()}
    assert names == {"progress", "entropy", "pareto", "network", "surrogate"}
    assert set(figures) == {f"figures/{name}" for name in names}
    held = json.loads((run / "surrogate.json").read_text())
    assert [row[5] for row in tables["labels"].data] == [row["accuracy"] for row in held["labels"]]
    assert {row["origin"] for row in held["labels"]} == {"uniform", "proposed"}
    assert held["expected"].keys() == set(held["targets"])

    files = [run / name for name in ("metrics.csv", "samples.csv", "surrogate.json", "arch.json")]
    before = [path.read_bytes() for path in files]
    search(*tiny_search, *TUNED_OPTIONS, "--wandb.mode", "disabled", "--ckpt_path", "last")
    assert [path.read_bytes() for path in files] == before
    assert "expected beyond" in capsys.readouterr().out
