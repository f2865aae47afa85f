"""What rows of an experiment say of each other, in words."""

import dataclasses

import pytest

from search.paper.experiment import Contrast, TableRow
from search.paper.results import RowResult, contrast_words
from supernet.space.published import published_spec


def result(name, tests, ms):
    spec = published_spec("mnasnet_a1")
    trainings = [{"test": test, "seed": seed} for seed, test in enumerate(tests)]
    row = TableRow(name, network="mnasnet_a1")
    return RowResult(row, [spec] * len(tests), trainings, [ms] * len(tests))


CONTRAST = Contrast("a", "b", 3.4)


@pytest.mark.parametrize(
    ("tests", "points", "words"),
    [
        (
            (0.7, 0.71, 0.69),
            3.4,
            "a less b +10.0 [+7.7 +12.3] points at 0.50 times its latency, as",
        ),
        ((0.7, 0.71, 0.69), None, "[+7.7 +12.3] points at 0.50 times its latency"),
        ((0.5, 0.51, 0.49), 3.4, "latency, but the paper has +3.4"),
        ((0.5, 0.51, 0.49), -3.4, "latency, as the paper has -3.4"),
        ((0.61, 0.62, 0.6), 3.4, "which 3 seeds cannot tell from 0 (32 would, four times in five"),
        ((0.61,), 3.4, "which 1 seed cannot tell"),
    ],
)
def test_a_difference_is_told_with_its_interval_and_beside_the_papers(tests, points, words):
    better, worse = result("a", tests, 2.0), result("b", (0.6, 0.61, 0.59)[: len(tests)], 4.0)
    told = contrast_words(dataclasses.replace(CONTRAST, points=points), better, worse, "ms")
    assert words in told
    assert ("the paper" in told) == (points is not None)


def test_costs_are_means_over_the_networks_of_all_seeds():
    one = result("a", (0.5, 0.5), 2.0)
    assert one.cost("macs") == 311_579_072
    assert one.cost("ms") == 2.0
