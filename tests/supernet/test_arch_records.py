"""Records of arch.json: what guessing is worth."""

import math

import pytest

from supernet.arch_records import NOT_LEARNED, Chance, TableError
from supernet.errors import UserError


@pytest.mark.parametrize(
    ("accuracy", "share", "images", "alarm"),
    [
        (0.5, 0.5, 100, NOT_LEARNED),
        (0.599, 0.5, 100, NOT_LEARNED),  # a standard error is 0.05
        (0.601, 0.5, 100, ""),
        (0.52, 0.5, 10_000, ""),
        (0.2, 0.5, 10_000, NOT_LEARNED),  # worse than the majority is nothing learned either
        (1.0, 1.0, 50, NOT_LEARNED),  # one class: the answer is always right
        (0.13, 0.1, 360, NOT_LEARNED),
        (0.14, 0.1, 360, ""),
    ],
)
def test_the_alarm_is_raised_within_two_standard_errors_of_the_majority(
    accuracy, share, images, alarm
):
    chance = Chance.beside(accuracy, share, images)
    assert chance.alarm == alarm
    chance.check(accuracy)
    figures = {"accuracy": accuracy, "majority_share": share, "images": float(images)}
    assert Chance.of_figures(figures) == chance


def test_an_alarm_that_was_taken_out_is_a_lie():
    with pytest.raises(UserError, match=r"chance.alarm is '', but with an accuracy of 0.1 it is"):
        Chance(0.1, 360, "").check(0.1)
    with pytest.raises(UserError, match=r"chance.majority_share is 0"):
        Chance(0.0, 360, "")


def test_figures_of_boxes_tell_no_chance():
    assert Chance.of_figures({"map": 0.3, "images": 20.0}) is None


def test_the_words_have_the_share_beside_the_accuracy():
    words = Chance.beside(0.103, 0.117, 1360).words(0.103)
    assert words.startswith("not learned: the accuracy is 10.3% of 1,360 images")
    assert words.endswith("alone has 11.7%")


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (1.005, "as predicted: the difference is within the noise of measuring"),
        (1.05, "5.0% more than predicted, no more than twice its usual error"),
        (0.8, "20.0% less than predicted, more than twice its usual error"),
    ],
)
def test_a_difference_is_judged_by_the_error_of_the_table(ms, words):
    assert TableError(0.04, 0.01, 60).compare(1.0, ms) == words


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((-0.1, 0.0, 3), "table_error.mean is -0.1"),
        ((0.1, math.nan, 3), "table_error.noise is nan"),
        ((0.1, 0.1, 0), "table_error.networks is 0"),
    ],
)
def test_an_error_that_no_table_has_is_refused(values, reason):
    with pytest.raises(UserError, match=reason):
        TableError(*values)
