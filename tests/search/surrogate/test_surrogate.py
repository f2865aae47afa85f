"""The surrogate: its own scale, and what it says of a planted truth."""

import dataclasses

import numpy as np
import pytest
import torch

from search.surrogate.surrogate import MIDDLE, UNIT, Surrogate
from tests.helpers.planted import PLAIN, Truth, codes_of

UNIFORM = torch.tensor(codes_of(PLAIN, 400, seed=5))
LEARNED = codes_of(PLAIN, 48)


@pytest.fixture(scope="module")
def surrogate():
    return Surrogate(PLAIN)


def fit(surrogate, truth, num=48, **changes):
    tunings = truth.of(LEARNED[:num], 4)
    surrogate.fit([dataclasses.replace(one, **changes) for one in tunings])


def test_rewards_have_a_scale_of_their_own_whatever_that_of_the_losses_is(surrogate):
    found = []
    for spread in (0.001, 0.1, 10.0):
        fit(surrogate, Truth(PLAIN, noise=0.3 * spread, spread=spread))
        accuracies = surrogate.accuracies(UNIFORM)
        assert float(accuracies.mean()) == pytest.approx(MIDDLE, abs=0.2 * UNIT)
        assert float(accuracies.std()) == pytest.approx(UNIT, rel=0.2)
        found.append(accuracies)
    for one in found[1:]:
        torch.testing.assert_close(one, found[0], rtol=0, atol=1e-4)


def test_accuracies_are_shares(surrogate):
    fit(surrogate, Truth(PLAIN))
    surrogate.deviation /= 1000
    accuracies = surrogate.accuracies(UNIFORM)
    assert (float(accuracies.min()), float(accuracies.max())) == (0.0, 1.0)


@pytest.mark.parametrize("num", [1, 2, 12])
def test_networks_that_showed_the_same_are_worth_the_same(surrogate, num):
    fit(surrogate, Truth(PLAIN), num, loss=2.0, accuracy=0.1)
    torch.testing.assert_close(surrogate.accuracies(UNIFORM), torch.full((400,), MIDDLE))


def test_less_loss_is_more_worth(surrogate):
    truth = Truth(PLAIN, noise=0.02)
    fit(surrogate, truth)
    expected = [truth.accuracy(code) for code in UNIFORM.tolist()]
    values, accuracies = surrogate.values(UNIFORM).numpy(), surrogate.accuracies(UNIFORM).numpy()
    assert np.corrcoef(values, expected)[0, 1] > 0.95
    assert np.corrcoef(values, accuracies)[0, 1] > 0.999
    assert values == pytest.approx(np.array(expected) - 2.0, abs=0.15)
