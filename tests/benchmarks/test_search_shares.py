"""benchmarks/search_shares.py times the parts of a search."""

import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.search_shares import Stopwatch, timed_search
from supernet.command.process import run_command


@pytest.mark.slow
def test_the_parts_of_a_search_are_timed(tiny_search, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["search_shares"])
    options = Namespace(config=Path(tiny_search[1]), steps=None, controller="ppo", score=None)
    watches = []
    run_command(lambda: watches.append(timed_search(options, tmp_path / "run")))  # as the command
    assert (tmp_path / "run/arch.json").exists()
    shares = watches[0].shares
    assert {"controller", "scoring", "tunings", "fits of the surrogate"} <= shares.keys()
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1)


def test_what_lies_within_a_part_counts_once():
    def work(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    watch = Stopwatch()
    inner = watch._timed(lambda: work(0.05), "controller")
    watch.began = time.process_time()
    watch._timed(lambda: (inner(), work(0.02)), "weight steps")()
    watch.ended = watch.began + 1
    assert watch.shares["controller"] == pytest.approx(0.05, abs=0.015)
    assert watch.shares["weight steps"] == pytest.approx(0.02, abs=0.015)
    assert watch.shares["rest"] == pytest.approx(0.93, abs=0.02)
