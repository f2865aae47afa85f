"""Which networks are tuned: uniform ones within the band, proposals, and how far they differ."""

from itertools import combinations, islice, pairwise

import pytest
import torch

from search.controllers.settings import ControllerSettings
from search.objective.constraints import Limit
from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import Target, resolve_targets
from search.surrogate.proposals import (
    apart,
    canonical_codes,
    differences,
    hits,
    proposed_codes,
    shares,
    uniform_codes,
)
from supernet.cost.model import CLOSED_FORMS
from supernet.space.arch import Restriction
from supernet.space.mnasnet import MnasSpace
from tests.helpers.planted import PLAIN, codes_of, objective_of
from tests.helpers.tables import TINY, random_table
from tests.helpers.toys import generator

FIXED = MnasSpace(
    ops=("conv", "sepconv"),
    kernels=(3,),
    ses=(0.0,),
    skips=("none",),
    filters=(1.0,),
    layers=(0, 1),
    base_filters=(16, 24),
    base_layers=(1, 1),
    strides=(1, 2),
    stem=16,
    stem_stride=1,
    head=32,
    resolution=8,
    classes=10,
    restrictions=(Restriction(1, layers=(0,)),),
)
"""Eight networks."""


def cost_of(objective, code):
    space = objective.space
    return objective.cost_model.predict(space.spec(space.decode(code)))


def assert_uniform(objective, target, codes, num):
    """Distinct, canonical, within the band and the constraints."""
    space = objective.space
    assert len(codes) == len(set(codes)) == num
    for code in codes:
        assert space.encode(space.canonical(space.decode(code))) == code
        assert target.is_hit_by(cost_of(objective, code))
        for limit in objective.constraints:
            assert limit.costs.model.predict(space.spec(space.decode(code))) <= limit.value


@pytest.mark.parametrize("percentile", ["p2", "p50", "p98"])
def test_uniform_networks_hit_the_target(percentile):
    objective = objective_of(PLAIN, percentile)
    (target,) = objective.targets
    codes = uniform_codes(objective, target, 24, (), generator(0))
    assert_uniform(objective, target, codes, 24)
    assert codes == uniform_codes(objective, target, 24, (), generator(0))
    assert uniform_codes(objective, target, 0, (), generator(0)) == []
    further = uniform_codes(objective, target, 24, codes[:20], generator(0))
    assert further[:4] == codes[20:]
    assert not set(further) & set(codes[:20])


def test_uniform_networks_take_all_values_of_all_decisions():
    objective = objective_of(PLAIN, "p50")
    codes = uniform_codes(objective, objective.targets[0], 150, (), generator(0))
    for values, expected in zip(columns(codes), columns(codes_of(PLAIN, 2000)), strict=True):
        assert set(values) == set(expected)


def columns(codes):
    return torch.tensor(codes).T.tolist()


def test_uniform_networks_keep_constraints_that_few_networks_keep():
    params = BlockCosts(PLAIN, CLOSED_FORMS["params"])
    drawn = torch.tensor([PLAIN.encode(arch) for arch in islice(PLAIN.samples(0), 2000)])
    limit = Limit(params, float(params.of(drawn).quantile(0.01)))
    objective = objective_of(PLAIN, "p30", limits=(limit,))
    codes = uniform_codes(objective, objective.targets[0], 12, (), generator(0))
    assert_uniform(objective, objective.targets[0], codes, 12)


def test_where_the_space_has_fewer_there_are_fewer_and_at_least_the_nearest():
    networks = {FIXED.encode(FIXED.canonical(arch)) for arch in islice(FIXED.samples(0), 200)}
    costs = BlockCosts(FIXED, CLOSED_FORMS["macs"])
    prices = sorted({float(costs.of(torch.tensor([code]))) for code in networks})
    for low, high in pairwise(prices):
        objective = objective_of(FIXED, (low + high) / 2)
        (target,) = objective.targets
        codes = uniform_codes(objective, target, 5, (), generator(0))
        assert 1 <= len(codes) < 5
        assert {cost_of(objective, code) for code in codes} >= {low}
        assert_uniform(objective, target, codes, len(codes))
        assert uniform_codes(objective, target, 5, codes, generator(0)) == []


def test_a_network_on_the_edge_hits_by_its_own_price():
    """Sums of the same costs in another order differ in the last digit."""
    costs = BlockCosts(TINY, random_table(TINY, 4))
    rows = torch.tensor([TINY.encode(arch) for arch in islice(TINY.samples(1), 300)])
    prices = [costs.model.predict(TINY.spec(TINY.decode(row))) for row in rows.tolist()]
    assert any(float(one) != price for one, price in zip(costs.of(rows), prices, strict=True))
    for price in prices:
        for target in (Target("t", price, 0.99 * price), Target("t", 1.01 * price, price)):
            objective = Objective(costs, Reward(), (target,))
            expected = [target.is_hit_by(one) for one in prices]
            assert hits(objective, target, rows).tolist() == expected


def test_proposals_hit_the_target_and_the_most_valuable_come_first():
    torch.manual_seed(0)
    objective = objective_of(PLAIN, "p40", "p60")
    controller = ControllerSettings("tunas").build(PLAIN.decision_sizes, 20, 64, 2)
    controller.prepare(objective)
    params = BlockCosts(PLAIN, CLOSED_FORMS["params"])
    for number, target in enumerate(objective.targets):
        codes = proposed_codes(controller, objective, number, 32, params.of, generator(1))
        assert len(codes) >= 32
        assert_uniform(objective, target, codes, len(codes))
        values = params.of(torch.tensor(codes))
        assert torch.equal(values, values.sort(descending=True).values)


def test_spellings_of_one_network_are_one_code():
    rows = torch.tensor([PLAIN.encode(arch) for arch in islice(PLAIN.samples(2), 50)])
    canonical = [PLAIN.encode(PLAIN.canonical(PLAIN.decode(row))) for row in rows.tolist()]
    both = torch.cat([rows, torch.tensor(canonical)])
    assert canonical_codes(objective_of(PLAIN, "p50"), both) == list(dict.fromkeys(canonical))


# --- how far networks differ, and how many there are of each --------------------------------------


def test_the_first_that_differ_enough_are_taken():
    ranked = [(0, 0, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 1, 1)]
    assert apart(ranked, 2, least=2) == [(0, 0, 0), (1, 1, 0)]
    assert apart(ranked, 3, least=2) == [(0, 0, 0), (1, 1, 0), (0, 1, 1)]
    assert apart(ranked, 2, among=[(0, 0, 0)], least=3) == [(1, 1, 1), (0, 0, 1)]


def test_where_too_few_differ_enough_fewer_differences_will_do():
    ranked = [(0,) * 6, (0,) * 5 + (1,), (1, 1) + (0,) * 4]
    assert apart(ranked, 3) == [ranked[0], ranked[2], ranked[1]]
    assert apart(ranked, 5) == apart(ranked, 3)
    assert apart([ranked[0], ranked[0]], 2) == [ranked[0]]


def test_networks_that_are_taken_differ_as_far_as_there_are_such():
    codes = canonical_codes(
        objective_of(PLAIN, "p50"),
        torch.tensor([PLAIN.encode(arch) for arch in islice(PLAIN.samples(3), 60)]),
    )
    taken = apart(codes, 8, least=6)
    assert len(taken) == 8
    assert min(differences(*pair) for pair in combinations(taken, 2)) >= 6


@pytest.mark.parametrize(("num", "expected"), [(0, []), (2, [("a", 1), ("b", 1)])])
def test_few_are_dealt_to_the_first(num, expected):
    assert shares(num, "abc") == expected


def test_all_are_dealt_evenly():
    assert shares(8, "abc") == [("a", 3), ("b", 3), ("c", 2)]


def test_targets_without_a_band_take_any_cheaper_network():
    costs = BlockCosts(PLAIN, CLOSED_FORMS["macs"])
    (target,) = resolve_targets(1e12, costs)
    codes = uniform_codes(Objective(costs, Reward(), (target,)), target, 9, (), generator(0))
    assert len(set(codes)) == 9
