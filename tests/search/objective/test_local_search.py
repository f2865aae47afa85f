"""Hitting targets: what they mean, and walks into the band below one."""

import random

import pytest
import torch

from search.objective.costs import BlockCosts
from search.objective.feasible import cheapest, costliest, nearest_below
from search.objective.local_search import LocalSearch
from search.objective.targets import Target, file_names, num_targets, resolve_targets
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from supernet.space.arch import Restriction
from supernet.space.mnasnet import MnasSpace
from tests.helpers.tables import DIGITS, TINY, random_table
from tests.helpers.toys import generator

RESTRICTED = MnasSpace(
    width=0.35,
    resolution=16,
    classes=10,
    stem_stride=1,
    head=256,
    restrictions=(Restriction(1, ops=("sepconv",)), Restriction(7, filters=(1.0, 1.25))),
)


@pytest.mark.parametrize("space", [DIGITS, RESTRICTED, TINY], ids=["digits", "restricted", "tiny"])
@pytest.mark.parametrize("unit", ["macs", "ms"])
def test_the_cost_of_many_codes_at_once_is_that_of_each(space, unit):
    table = CLOSED_FORMS["macs"] if unit == "macs" else random_table(space, 2)
    rng = random.Random(0)
    archs = [space.sample(rng) for _ in range(100)]
    codes = torch.tensor([space.encode(arch) for arch in archs])
    costs = [table.predict(space.spec(arch)) for arch in archs]
    torch.testing.assert_close(BlockCosts(space, table).of(codes), torch.tensor(costs).double())


# --- walks ----------------------------------------------------------------------------------------

COSTS = {
    "macs": BlockCosts(DIGITS, CLOSED_FORMS["macs"]),
    "ms": BlockCosts(DIGITS, random_table(DIGITS, 3)),
}


def uniform(rows):
    return torch.zeros(len(rows), len(DIGITS.decision_sizes), max(DIGITS.decision_sizes))


def band(costs, share):
    """Of a target at a share of the way from the cheapest to the costliest of some networks."""
    rng = random.Random(1)
    codes = torch.tensor([DIGITS.encode(DIGITS.sample(rng)) for _ in range(500)])
    cost = float(costs.of(codes).quantile(share))
    return Target("t", cost, 0.99 * cost)


@pytest.mark.parametrize("unit", COSTS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("start", ["random", "cheapest", "costliest"])
def test_wherever_walks_start_they_find_many_networks_in_the_band(unit, share, start):
    costs, rng = COSTS[unit], random.Random(2)
    target = band(costs, share)
    codes = torch.tensor([DIGITS.encode(DIGITS.sample(rng)) for _ in range(40)])
    if start != "random":
        ends = costs.of(codes).argsort()
        codes = codes[ends[:1] if start == "cheapest" else ends[-1:]]
    found = LocalSearch(costs, target, uniform).find(codes, 64, generator(0))
    assert len({tuple(row) for row in found.tolist()}) == len(found) >= 64
    assert all(target.is_hit_by(float(cost)) for cost in costs.of(found))


def test_what_hits_already_comes_first_and_unchanged():
    costs = COSTS["macs"]
    target = band(costs, 0.5)
    hits = LocalSearch(costs, target, uniform).find(torch.zeros(1, 42).long(), 8, generator(0))
    again = LocalSearch(costs, target, uniform).find(hits, 8, generator(1))
    assert torch.equal(again[: len(hits)], hits)


def test_walks_change_what_the_controller_is_least_sure_of():
    """Here all but the last block's decisions, where those can lead into the band."""
    costs = COSTS["macs"]
    start = torch.tensor([DIGITS.encode(DIGITS.sample(random.Random(0)))])
    cost = float(costs.of(start)) * 1.03
    target = Target("t", cost, 0.99 * cost)

    def sure(rows):
        log_prob = uniform(rows).scatter(2, rows[..., None], 30.0)
        log_prob[:, -6:] = 0.0
        return log_prob

    found = LocalSearch(costs, target, sure).find(start, 6, generator(0))
    free = LocalSearch(costs, target, uniform).find(start, 6, generator(0))
    others, freely = ((rows != start)[:, :-6].sum() / len(rows) for rows in (found, free))
    assert len(found) >= 2
    assert others < 0.5 * freely


def test_the_generator_alone_decides_where_walks_lead():
    walks = LocalSearch(COSTS["ms"], band(COSTS["ms"], 0.3), uniform)
    start = torch.zeros(3, 42).long()
    first, again, other = (walks.find(start, 20, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.tolist() != other.tolist()


def test_where_nothing_can_be_hit_nothing_is_found():
    target = Target("t", 10.0, 9.9)
    found = LocalSearch(COSTS["macs"], target, uniform).find(
        torch.zeros(2, 42).long(), 8, generator(0)
    )
    assert found.shape == (0, 42)


# --- targets --------------------------------------------------------------------------------------


def test_targets_keep_their_order_and_have_names_for_files():
    requested = ["p80", 30000, " 0.025x  mnasnet_a1", "p2.5"]
    targets = resolve_targets(requested, BlockCosts(TINY, CLOSED_FORMS["params"]))
    assert [one.name for one in targets] == ["p80", "30000", "0.025x_mnasnet_a1", "p2.5"]
    assert targets[1].cost == 30000
    assert all(0 < one.least <= 0.99 * one.cost for one in targets)
    assert (num_targets(["p80", "p20"]), num_targets("p80")) == (2, 1)
    assert file_names([one.name for one in targets[:2]], "arch", ".json") == [
        "arch-p80.json",
        "arch-30000.json",
    ]
    assert file_names(["p80"], "arch", ".json") == ["arch.json"]


def test_one_target_in_a_list_is_that_target():
    costs = BlockCosts(TINY, CLOSED_FORMS["macs"])
    assert resolve_targets(["p40"], costs) == resolve_targets("p40", costs)


def test_two_targets_that_mean_the_same_are_refused():
    with pytest.raises(UserError, match=r"targets p40 and p40\.0 are the same, .* leave one out"):
        resolve_targets(["p40", "p20", "p40.0"], BlockCosts(TINY, CLOSED_FORMS["macs"]))


def test_a_target_that_constrains_nothing_lets_every_network_be_chosen():
    costs = BlockCosts(TINY, CLOSED_FORMS["macs"])
    _, most = costliest(costs)
    (target,) = resolve_targets(most, costs)
    assert target.least == 0
    assert target.is_hit_by(cheapest(costs)[1])


def test_where_no_network_is_near_the_nearest_from_below_is_what_hits():
    few = MnasSpace(
        ops=("conv",),
        kernels=(3,),
        ses=(0.0,),
        skips=("none",),
        filters=(1.0,),
        layers=(0, 1),
        base_filters=(16, 32),
        base_layers=(1, 1),
        strides=(1, 2),
        resolution=16,
    )
    costs = BlockCosts(few, CLOSED_FORMS["macs"])
    low, high = cheapest(costs)[1], costliest(costs)[1]
    (target,) = resolve_targets(0.999 * high, costs)
    assert low < target.least < 0.99 * target.cost
    assert not target.is_near
    assert target.is_hit_by(nearest_below(costs, target.cost)[1])
