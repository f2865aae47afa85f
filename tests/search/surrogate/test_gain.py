"""Gains: intervals that hold the truth as often as they say, although the choice is the best."""

import math

import numpy as np
import pytest

from search.surrogate.gain import Gain, _student_95
from search.surrogate.posterior import Posterior, fit_posterior
from search.surrogate.regression import fit_ridge

FEATURES = 14


class Planted:
    """Labels of networks: a linear truth, an effect of each network's own, and noise.

    The variance of a uniform network's label is 1; ``explained`` of it is linear, and ``own`` of
    the rest its own effect.
    """

    def __init__(self, explained, own, seed):
        self.random = np.random.default_rng(seed)
        mixing = np.eye(FEATURES) + 0.3 * self.random.normal(size=(FEATURES, FEATURES))
        self.mixing = mixing / np.sqrt((mixing**2).sum(axis=0))
        self.all = self.draw(1000)
        weights = self.random.normal(size=FEATURES)
        self.weights = weights * math.sqrt(explained) / (self.all @ weights).std()
        self.own = math.sqrt((1 - explained) * own)
        self.noise = math.sqrt((1 - explained) * (1 - own))

    def draw(self, num):
        return self.random.normal(size=(num, FEATURES)) @ self.mixing

    def truths(self, inputs):
        return inputs @ self.weights + self.own * self.random.normal(size=len(inputs))

    def tuned(self, truths, noise=1.0):
        return truths + noise * self.noise * self.random.normal(size=len(truths))


def searched(planted, networks=32, per_round=(6, 2), finalists=8, drafts=1000):
    """A whole search: the choice, its true gain, and what it was chosen by."""
    inputs = planted.draw(networks)
    truths = planted.truths(inputs)
    labels = planted.tuned(truths)
    for _ in range(2):
        fresh = planted.draw(drafts)
        predicted = fit_ridge(inputs, labels).predict(fresh)
        fresh = np.vstack(
            [fresh[np.argsort(-predicted)[: per_round[0]]], planted.draw(per_round[1])]
        )
        new = planted.truths(fresh)
        inputs, truths = np.vstack([inputs, fresh]), np.append(truths, new)
        labels = np.append(labels, planted.tuned(new))
    ridge = fit_ridge(inputs, labels)
    fresh = planted.draw(drafts)
    fresh = fresh[np.argsort(-ridge.predict(fresh))[:finalists]]
    measured = np.argsort(-(labels + ridge.left_out))[: finalists // 2]
    final = np.vstack([fresh, inputs[measured]])
    new = planted.truths(fresh)
    true = np.append(new, truths[measured])
    own = np.append(planted.tuned(new), labels[measured])
    chosen = int(np.argmax(planted.tuned(true, 0.7) + ridge.predict(final)))
    gain = true[chosen] - (planted.all @ planted.weights).mean()
    return fit_posterior(inputs, labels), final[chosen], own[chosen], gain


def coverage(explained, own, num):
    """Share of searches whose interval holds the true gain, and the mean error of estimates."""
    held, errors = 0, []
    for seed in range(num):
        planted = Planted(explained, own, seed)
        posterior, network, label, true = searched(planted)
        value, error = posterior.gain(network, planted.all[:100], label)
        held += abs(value - true) <= _student_95(posterior.num - 1) * error
        errors.append(value - true)
    return held / num, np.mean(errors)


@pytest.mark.parametrize(("explained", "own"), [(0.0, 0.8), (0.1, 0.5), (0.3, 0.2), (0.6, 0.5)])
def test_intervals_hold_the_true_gain_of_the_best_of_many(explained, own):
    held, error = coverage(explained, own, 50)
    # 50 searches: 95 % +- 3.1.
    assert held >= 0.86
    assert error < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("explained", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("own", [0.2, 0.5, 0.8])
def test_intervals_hold_the_true_gain_as_often_as_their_docstring_says(explained, own):
    held, _ = coverage(explained, own, 200)
    assert held >= 0.89


def test_intervals_of_the_best_penalty_alone_would_not():
    held = 0
    for seed in range(40):
        planted = Planted(0.3, 0.5, seed)
        posterior, network, _, true = searched(planted)
        away = network - planted.all.mean(axis=0)
        held += abs(away @ posterior.weights - true) <= 2 * posterior.errors(away[None])[0]
    assert held < 24


def test_a_posterior_finds_a_planted_truth_and_knows_how_well():
    random = np.random.default_rng(0)
    inputs, truth = random.normal(size=(400, 6)), np.array([1.0, -2, 0, 0, 3, 0.5])
    posterior = fit_posterior(inputs, inputs @ truth + 0.5 * random.normal(size=400))
    errors = posterior.errors(np.eye(6))
    # Clipping shrinks, by little.
    assert posterior.weights == pytest.approx(truth, abs=0.2)
    assert (errors < 0.05).all()
    assert posterior.noise == pytest.approx(0.25, rel=0.6)


def test_errors_are_those_of_repeated_experiments():
    random = np.random.default_rng(1)
    misses, errors = [], []
    for _ in range(200):
        inputs, truth = random.normal(size=(40, 8)), random.normal(size=8)
        posterior = fit_posterior(inputs, inputs @ truth + 2 * random.normal(size=40))
        misses.append(posterior.weights - truth)
        errors.append(posterior.errors(np.eye(8)))
    ratios = np.array(misses) / np.array(errors)
    assert np.mean(np.abs(ratios) < 1.96) == pytest.approx(0.95, abs=0.045)


def test_an_own_label_is_believed_by_half():
    posterior = Posterior(np.zeros(2), np.zeros((2, 2)), np.zeros(2), 0.5, 0.04, 50)
    network, others = np.ones(2), np.zeros((3, 2))
    value, error = posterior.gain(network, others, 0.7)
    assert value == pytest.approx(0.1)
    # E s (1 - s) and var s over shares of 0, .1 ... 1, and the level's error.
    shares = np.linspace(0, 1, 11)
    left = np.mean(shares * (1 - shares) + shares**2 / 50) * 0.04
    assert error == pytest.approx(math.sqrt(left + np.var(shares) * 0.2**2))
    assert posterior.gain(network, others, None) == (0, pytest.approx(0.2))


def test_labels_that_are_all_alike_promise_nothing():
    posterior = fit_posterior(np.random.default_rng(0).normal(size=(5, 3)), np.full(5, 0.3))
    assert posterior.gain(np.ones(3), np.zeros((2, 3)), 0.3) == (0, 0)


def test_words_give_the_interval_and_what_was_not_seen():
    words = Gain(0.031, -0.002, 0.064, 19, 48).words
    assert "+3.1 points of accuracy after 19 steps of training" in words
    assert "-0.2 to +6.4, from 48 networks" in words
    assert "a whole training was not made" in words
