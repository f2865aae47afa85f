"""Time left: of a search that begins, and of one that goes on."""

import json
from types import SimpleNamespace

import pytest

from search.plan import time_left
from search.plan.time_left import SearchTime
from search.settings import Lengths
from search.surrogate.tunings import CONDITIONS, kept_tunings
from supernet.training.step_times import TimeLeft

ROW = dict.fromkeys(CONDITIONS, 0)


def interrupted(steps_done):
    """As much of a search as its steps need: 9 shared ones, 8 tunings of 5, 3 finalists of 7."""
    return SimpleNamespace(
        device=SimpleNamespace(type="cpu"),
        learns_from_tunings=True,
        steps_done=steps_done,
        accumulated=1,
        shared_steps=9,
        total_steps=70,
        num_targets=1,
        lengths=Lengths(5, 7),
        final=SimpleNamespace(num=3),
        surrogate=SimpleNamespace(networks=8),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run with six tunings of these weights by two ranks, and one of others."""
    monkeypatch.setattr(time_left, "fingerprint", lambda _: "these")
    for rank, weights in enumerate((["these"] * 5 + ["others"], ["these"])):
        rows = [{**ROW, "weights": one, "code": [rank, place]} for place, one in enumerate(weights)]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / f"tunings-rank{rank}.jsonl").write_text(f"{text}cut sho")
    return tmp_path


@pytest.mark.parametrize(("done", "left"), [(0, 9 + 61), (4, 5 + 61), (9, 2 * 5 + 3 * 7)])
def test_tunings_that_are_kept_are_not_left(folder, done, left):
    assert len(kept_tunings(folder)) == 7
    found = SearchTime(interrupted(done), folder, lambda: None).left()
    assert found == TimeLeft(left, 9 + 8 * 5 + 3 * 7, None)


def test_a_search_says_how_long_it_will_take(search, tuned_search, capsys, monkeypatch):
    monkeypatch.setattr(time_left, "SHORTEST", 1)
    search(*tuned_search, "--dry_run")
    # The steps that no tuning gets are no steps of the search.
    said = "1,438 images of 10 classes at 8 px: 53 steps, about "
    assert said in capsys.readouterr().out
