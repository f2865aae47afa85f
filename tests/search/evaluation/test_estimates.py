"""Means with their intervals, and tables of them."""

import math
from argparse import Namespace

import numpy as np
import pytest
from scipy import stats

from search.evaluation.estimates import Estimate, Mean, Report, cell


def test_a_mean_has_students_interval():
    values = [0.5, 0.7, 0.9, 0.6]
    found = Mean.of(values).estimate
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((0.675, low, high))
    assert (Mean.of(values).estimate * 100).high == pytest.approx(100 * high)


def test_a_difference_of_means_is_welchs():
    a, b = [0.5, 0.7, 0.9, 0.6], [0.1, 0.2, 0.15]
    test = stats.ttest_ind(a, b, equal_var=False)
    found = (Mean.of(a) - Mean.of(b)).estimate
    low, high = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))


def test_an_average_of_groups_covers_the_mean_of_their_means():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        groups = [Mean.of(rng.normal(centre, 1, 3)) for centre in (0, 10, 20)]
        found = Mean.average(groups).estimate
        hits += found.low <= 10 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_a_single_value_has_no_interval_and_equal_values_an_empty_one():
    alone = Mean.of([0.5]).estimate
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    assert cell(alone) == ".50"
    assert Mean.of([0.5, 0.5]).estimate == Estimate(0.5, 0.5, 0.5)
    assert math.isnan((Mean.of([0.5]) - Mean.of([0.1, 0.2])).estimate.high)


def test_tables_hold_words_beside_estimates(capsys):
    tables = {"of": {"a": {"n": "9 of 10", "x": Estimate(0.5, 0.4, 0.6)}}}
    report = Report(["fact"], tables, "more than chance")
    report.print()
    assert capsys.readouterr().out.splitlines() == [
        "fact",
        "",
        "of        n              x",
        "a   9 of 10  .50 [.40 .60]",
        "",
        "more than chance",
    ]
    assert report.plain(Namespace())["tables"]["of"]["a"]["n"] == "9 of 10"


def test_cells_drop_leading_zeros_and_keep_signs():
    assert cell(Estimate(0.62, 0.48, 0.74)) == ".62 [.48 .74]"
    assert cell(Estimate(-0.05, -0.3, 1.0)) == "-.05 [-.30 1.00]"
    assert cell(Estimate(0.9, 0.9, 0.9)) == ".90"
    assert cell(Estimate(float("nan"), 0.0, 0.0)) == "-"
