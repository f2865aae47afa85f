"""benchmarks/controller_cost.py times a controller within a search."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.controller_cost import Stopwatch, result_of, search
from supernet.command.process import run_command


@pytest.mark.slow
def test_the_controllers_share_of_a_search_is_timed(tiny_search, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["controller_cost"])
    options = Namespace(config=Path(tiny_search[1]), steps=None, controller="ppo")
    watches = []
    run_command(lambda: watches.append(search(options, tmp_path / "run")))  # as the command does
    result = result_of(watches[0])
    assert (tmp_path / "run/arch.json").exists()
    assert result["proposing_s"] > 0
    assert result["learning_s"] > 0
    assert 0 < result["share"] < 1


def test_the_share_is_of_the_whole_search():
    watch = Stopwatch()
    watch.controller = {"proposing": 1.0, "learning": 3.0}
    watch.began, watch.ended = 100.0, 200.0
    assert result_of(watch)["share"] == 0.04
