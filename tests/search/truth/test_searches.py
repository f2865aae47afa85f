"""search.truth: noise of measurements, and whole searches on them."""

import dataclasses
import json
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from search.surrogate.proposals import hits
from search.truth.report import by_seed, ratio
from search.truth.searches import Search, by_tunings, search_identity
from search.truth.simulation import SETTINGS, Simulator, noise_for

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_noise_leaves_the_stated_tau_and_is_the_same_for_who_looks_twice(field):
    rows = field.rows[:500]
    luck = np.random.default_rng(1).normal(size=len(field.worths))
    for tau in (0.25, 0.6):
        seen = field.worths + noise_for(field, tau) * luck
        assert kendalltau(seen, field.worths).statistic == pytest.approx(tau, abs=0.06)
    for setting in SETTINGS.values():
        simulator = Simulator(field, 3, setting.bias)
        seen = simulator.seen(rows, setting.label, purpose=1)
        assert kendalltau(seen, field.truth(rows)).statistic == pytest.approx(
            setting.label, abs=0.12
        )
        again = simulator.seen(rows.flip(0), setting.label, purpose=1)
        assert np.array_equal(again[::-1], seen)
        assert not np.array_equal(simulator.seen(rows, setting.label, purpose=2), seen)


def test_bias_is_alike_for_all_purposes_and_luck_is_not(field):
    rows = field.rows[:500]

    def alike(name):
        setting = SETTINGS[name]
        simulator = Simulator(field, 1, setting.bias)
        one, other = (
            simulator.seen(rows, setting.label, purpose) - field.truth(rows) for purpose in (1, 2)
        )
        return np.corrcoef(one, other)[0, 1]

    assert alike("clear") == pytest.approx(0, abs=0.1)
    assert alike("biased") == pytest.approx(0.5, abs=0.1)


def test_a_search_that_sees_the_truth_finds_nearly_the_best(field):
    sharp = dataclasses.replace(SETTINGS["clear"], label=0.97, final=0.98)
    code = by_tunings("evolution")(field, sharp, 0)
    row = torch.tensor([code])
    assert bool(hits(field.objective, field.target, row).all())
    regret, of_mean = field.best - field.truth(row)[0], field.best - field.worths.mean()
    assert regret < 0.25 * of_mean


def test_rows_of_the_first_searches_are_known_by_what_they_say():
    """The public table's MACs are named by none of them."""
    first = json.loads((RESULTS / "outside_truth.jsonl").read_text().splitlines()[0])
    place = (first["method"], first["setting"], first["target"], first["seed"])
    known = search_identity({}, "macs", Search("accel-nasbench", *place))
    assert known["config"] == first["config"]
    other = {"mine": types.SimpleNamespace(digest="abc")}
    assert search_identity(other, "macs", Search("mine", *place))["config"] != first["config"]


def test_seeds_without_all_targets_are_left_out_and_ratios_are_paired():
    rows = [
        {"seed": seed, "target": target, "regret": seed + 1.0}
        for seed, target in ((0, "p20"), (0, "p50"), (1, "p20"), (1, "p50"), (2, "p20"))
    ]
    assert by_seed(rows) == {0: 1.0, 1: 2.0}
    found = ratio({0: 1.0, 1: 2.0, 5: 9.0}, {0: 2.0, 1: 4.0})
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
