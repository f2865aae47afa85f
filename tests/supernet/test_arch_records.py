"""Records of arch.json: what guessing is worth."""

import pytest

from supernet.arch_records import NOT_LEARNED, Chance
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
