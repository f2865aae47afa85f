"""Power: the number of measurements that a sentence names finds the difference so often."""

import math

import numpy as np
import pytest

from search.evaluation.estimates import Estimate
from search.evaluation.power import POWER, error_of, is_told, needed, tau_sentence


def test_as_many_measurements_as_are_named_find_the_difference_four_times_in_five():
    rng = np.random.default_rng(0)
    number = needed(25, 0.5, 1 / math.sqrt(25))  # a deviation of 1
    means = rng.normal(0.5, 1, (4000, number)).mean(1)
    found = np.abs(means) > 1.96 / math.sqrt(number)
    assert found.mean() == pytest.approx(POWER, abs=0.03)


def test_the_number_of_networks_for_a_tau_finds_it_four_times_in_five():
    """Normal scores of which Kendall's tau with the truth is .3."""
    rng, tau = np.random.default_rng(0), 0.3
    correlation = math.sin(math.pi / 2 * tau)

    def taus(networks, times):
        x, noise = rng.normal(size=(2, times, networks))
        y = correlation * x + math.sqrt(1 - correlation**2) * noise
        signs = [np.sign(one[:, :, None] - one[:, None]) for one in (x, y)]
        return (signs[0] * signs[1]).sum((1, 2)) / (networks * (networks - 1))

    few = taus(20, 2000)
    number = needed(20, few.mean(), few.std())
    assert 30 <= number <= 60
    many = taus(number, 2000)
    assert np.mean(many > 1.96 * many.std()) == pytest.approx(POWER, abs=0.06)


@pytest.mark.parametrize(("exact", "rounded"), [(0.5, 1), (7.1, 8), (41.2, 42), (123, 130)])
def test_numbers_are_rounded_up_to_two_digits(exact, rounded):
    error = math.sqrt(exact) / 2.8016
    assert needed(1, 1.0, error) == rounded


def test_the_error_is_that_of_the_side_towards_0():
    assert error_of(Estimate(0.3, -0.092, 0.4)) == pytest.approx(0.2, rel=1e-3)
    assert error_of(Estimate(-0.3, -0.4, 0.092)) == pytest.approx(0.2, rel=1e-3)
    assert not is_told(Estimate(0.3, -0.1, 0.4))
    assert is_told(Estimate(-0.3, -0.4, -0.1))


@pytest.mark.parametrize(
    ("tau", "words"),
    [
        ((0.3, -0.1, 0.6), "20 networks cannot tell whether params ranks networks: Kendall's tau"),
        ((0.3, 0.1, 0.5), "20 networks tell that params ranks networks as trainings do"),
        ((-0.3, -0.5, -0.1), "20 networks tell that params ranks networks the wrong way round"),
        ((math.nan,) * 3, "20 networks say nothing of params: Kendall's tau -"),
        ((0.0, -0.2, 0.2), "20 networks say nothing of params: Kendall's tau"),
    ],
)
def test_a_ranking_ends_with_what_it_tells(tau, words):
    sentence = tau_sentence("params", Estimate(*tau), 20)
    assert sentence.startswith(words)
    assert ("73 would, four times in five" in sentence) == (tau == (0.3, -0.1, 0.6))
