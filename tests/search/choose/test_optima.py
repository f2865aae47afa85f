"""Optima of a surrogate: the best first, then others that differ, all within the band."""

import itertools
import random

import pytest
import torch

from search.choose.optima import best_codes
from search.objective.constraints import Limit
from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import Target
from search.surrogate.proposals import APART, differences, hits
from search.surrogate.surrogate import Surrogate
from search.surrogate.tunings import Tuning
from supernet.cost.model import CLOSED_FORMS
from supernet.space.arch import Arch
from tests.helpers.tables import DIGITS, TINY, random_table

COSTS = BlockCosts(TINY, random_table(TINY, 0))
ROWS = torch.tensor(
    [TINY.encode(Arch(one)) for one in itertools.product(*map(TINY.block_choices, range(2)))]
)


def fitted(space, codes):
    """A surrogate that has learned from networks whose loss is chance."""
    losses = torch.randn(len(codes), generator=torch.Generator().manual_seed(1)).tolist()
    found = Surrogate(space)
    found.fit([Tuning(tuple(code), 4, loss, 0.5) for code, loss in zip(codes, losses, strict=True)])
    return found


@pytest.fixture(scope="module")
def surrogate():
    """One of 24 networks of a tiny space."""
    drawn = torch.randperm(len(ROWS), generator=torch.Generator().manual_seed(0))[:24]
    return fitted(TINY, ROWS[drawn].tolist())


def objective_of(limits=()):
    most = float(COSTS.of(ROWS).quantile(0.6))
    return Objective(COSTS, Reward(), (Target("t", most, 0.7 * most),), tuple(limits))


@pytest.mark.parametrize("limited", [False, True])
def test_the_best_network_comes_first_and_all_hit_the_target(surrogate, limited):
    macs = BlockCosts(TINY, CLOSED_FORMS["macs"])
    limits = [Limit(macs, float(macs.of(ROWS).quantile(0.7)))] if limited else []
    objective = objective_of(limits)
    codes = best_codes(surrogate, objective, objective.targets[0], 2, seed=0)
    assert len(set(codes)) == 2
    assert bool(hits(objective, objective.targets[0], torch.tensor(codes)).all())
    allowed = ROWS[hits(objective, objective.targets[0], ROWS)]
    value = float(surrogate.values(torch.tensor(codes[:1])))
    assert value == pytest.approx(float(surrogate.values(allowed).max()), abs=1e-9)


def test_the_same_seed_draws_the_same_networks(surrogate):
    objective = objective_of()
    drawn = [best_codes(surrogate, objective, objective.targets[0], 2, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == drawn[2][0]
    assert drawn[0] != drawn[2]


def test_where_one_network_hits_it_is_the_only_one(surrogate):
    cost = float(COSTS.of(ROWS).median())
    target = Target("t", cost, cost)
    objective = Objective(COSTS, Reward(), (target,))
    (code,) = best_codes(surrogate, objective, target, 1, seed=0)
    assert float(COSTS.of(torch.tensor([code]))) == pytest.approx(cost, rel=1e-12)


def test_in_a_whole_space_the_networks_differ_in_four_decisions():
    costs = BlockCosts(DIGITS, CLOSED_FORMS["macs"])
    codes = [DIGITS.encode(DIGITS.sample(random.Random(seed))) for seed in range(30)]
    most = float(costs.of(torch.tensor(codes)).median())
    target = Target("t", most, 0.99 * most)
    objective = Objective(costs, Reward(), (target,))
    found = best_codes(fitted(DIGITS, codes), objective, target, 3, seed=0)
    assert len(found) == 3
    assert bool(hits(objective, target, torch.tensor(found)).all())
    assert min(differences(*pair) for pair in itertools.combinations(found, 2)) >= APART
