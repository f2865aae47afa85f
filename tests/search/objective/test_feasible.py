"""What a space can reach: the integer program against every network of a small space."""

import itertools
import random

import pytest
import torch

from search.objective.constraints import Constraint, Limit, violation, violations
from search.objective.costs import BlockCosts, quantile
from search.objective.feasible import GAP, best_within, cheapest, costliest, nearest_below
from search.objective.objective import resolve_constraints
from search.objective.targets import resolve_targets
from search.surrogate.counts import BlockCounts
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from supernet.space.arch import Arch
from tests.helpers.tables import DIGITS, TINY, random_table

ARCHS = [Arch(a) for a in itertools.product(*map(TINY.block_choices, range(2)))]
SPECS = list(map(TINY.spec, ARCHS))
MODELS = {**CLOSED_FORMS, "ms": random_table(TINY, 1)}
ALL_COSTS = {name: BlockCosts(TINY, model) for name, model in MODELS.items()}
TABLE = random_table(TINY, 0)
COSTS = BlockCosts(TINY, TABLE)
WIDE = BlockCosts(DIGITS, CLOSED_FORMS["macs"])


def limit(cost, share):
    """The value that a share of all networks of TINY keeps."""
    values = sorted(MODELS[cost].predict(spec) for spec in SPECS)
    return Limit(ALL_COSTS[cost], values[int(share * (len(values) - 1))])


def kept_costs(limits):
    return sorted(TABLE.predict(spec) for spec in SPECS if not violation(limits, spec))


def assert_keeps(arch, cost, limits=(), costs=COSTS):
    spec = costs.space.spec(arch)
    assert not violation(limits, spec)
    assert costs.model.predict(spec) == cost
    assert costs.space.canonical(arch) == arch


@pytest.mark.parametrize("name", ["macs", "params", "ms"])
def test_the_extremes_are_those_of_trying_every_network(name):
    costs = [MODELS[name].predict(spec) for spec in SPECS]
    for extreme, expected in ((cheapest, min(costs)), (costliest, max(costs))):
        arch, cost = extreme(ALL_COSTS[name])
        assert cost == pytest.approx(expected, rel=1e-12)
        assert_keeps(arch, cost, costs=ALL_COSTS[name])


@pytest.mark.parametrize("name", ["macs", "params", "ms"])
def test_the_nearest_network_below_a_target_is_that_of_trying_every_network(name):
    costs = [MODELS[name].predict(spec) for spec in SPECS]
    drawn = (random.Random(0).uniform(min(costs), max(costs)) for _ in range(20))
    for target in [min(costs), *drawn, 2 * max(costs)]:
        arch, cost = nearest_below(ALL_COSTS[name], target)
        nearest = max(one for one in costs if one <= target)
        assert nearest - 2 * GAP * target <= cost <= nearest
        assert_keeps(arch, cost, costs=ALL_COSTS[name])


@pytest.mark.parametrize("name", ["macs", "ms"])
def test_a_target_that_is_a_networks_cost_is_hit_exactly(name):
    """As every percentile is: where networks are few, the next one below may be far away."""
    costs, all_costs = ALL_COSTS[name], sorted(map(MODELS[name].predict, SPECS))
    for share in (0.0, 0.02, 0.14, 0.34, 0.5, 0.66, 0.9, 0.98):
        target = all_costs[int(share * len(all_costs))]
        arch, cost = nearest_below(costs, target)
        assert_keeps(arch, target, costs=costs)
        assert cost == target
    (resolved,) = resolve_targets("p2", costs)
    assert resolved.cost in all_costs
    assert resolved.is_near
    assert resolved.least == 0.99 * resolved.cost


@pytest.mark.parametrize(
    "share", [0.5, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.1, 0.9))]
)
def test_in_the_whole_space_something_lies_right_below_every_target(share):
    least, most = cheapest(WIDE)[1], costliest(WIDE)[1]
    target = least + share * (most - least)
    _, cost = nearest_below(WIDE, target)
    assert 0.9999 * target <= cost <= target


@pytest.mark.parametrize("cost", MODELS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_the_cheapest_network_under_a_constraint_is_that_of_trying_every_network(cost, share):
    limits = [limit(cost, share)]
    arch, found = cheapest(COSTS, limits)
    assert_keeps(arch, found, limits)
    assert found == pytest.approx(kept_costs(limits)[0], rel=1e-9)


@pytest.mark.parametrize(
    "shares",
    [
        {"params": 0.2, "macs": 0.3},
        {"params": 0.3, "memory": 0.2, "ms": 0.4},
        {"params": 0.4, "macs": 0.4, "ms": 0.4, "memory": 0.5, "size": 0.4},
    ],
    ids=len,
)
def test_the_cheapest_network_under_several_constraints_is_that_of_trying_every_network(shares):
    limits = [limit(*pair) for pair in shares.items()]
    arch, found = cheapest(COSTS, limits)
    assert_keeps(arch, found, limits)
    assert found == pytest.approx(kept_costs(limits)[0], rel=1e-9)


@pytest.mark.parametrize("cost", MODELS)
def test_the_nearest_network_to_a_target_keeps_the_constraint(cost):
    limits = [limit(cost, 0.3)]
    kept = kept_costs(limits)
    for target in (kept[len(kept) // 4], kept[len(kept) // 2], kept[-1]):
        arch, found = nearest_below(COSTS, target, limits)
        assert_keeps(arch, found, limits)
        assert (1 - 2 * GAP) * target <= found <= target


def test_several_constraints_at_once_leave_the_nearest_to_the_target():
    limits = [limit("params", 0.5), limit("macs", 0.5), limit("memory", 0.6)]
    kept = kept_costs(limits)
    target = kept[len(kept) // 2]
    arch, found = nearest_below(COSTS, target, limits)
    assert_keeps(arch, found, limits)
    assert (1 - 2 * GAP) * target <= found <= target


def test_five_constraints_on_the_whole_space_leave_something_right_below_a_target():
    closed = [Constraint(cost, "p40") for cost in ("params", "macs", "memory", "size")]
    limits, phone = resolve_constraints(closed, DIGITS, ""), random_table(DIGITS, 4)
    limits = (*limits, Limit(BlockCosts(DIGITS, phone), quantile(phone, DIGITS, 0.4)))
    table = random_table(DIGITS, 5)
    costs, rng = BlockCosts(DIGITS, table), random.Random(0)
    arch, least = cheapest(costs, limits)
    assert_keeps(arch, least, limits, costs)
    drawn = [DIGITS.spec(DIGITS.sample(rng)) for _ in range(300)]
    assert least < min(table.predict(spec) for spec in drawn if not violation(limits, spec))
    arch, found = nearest_below(costs, 1.2 * least, limits)
    assert_keeps(arch, found, limits, costs)
    assert 0.9998 * 1.2 * least <= found <= 1.2 * least


def test_a_network_that_a_table_timed_above_the_sum_of_its_layers_is_no_answer(monkeypatch):
    """A latency table prices its references as it measured them."""
    target = kept_costs([])[len(SPECS) // 2]
    arch, cost = nearest_below(COSTS, target)
    assert cost == target
    monkeypatch.setitem(TABLE.__dict__, "_references", {TINY.spec(arch): 1.1 * target})
    another, cost = nearest_below(COSTS, target)
    assert another != arch
    assert 0.98 * target <= cost <= target


@pytest.mark.parametrize("cost", ["params", "memory"])
def test_limits_that_no_network_keeps_are_refused(cost):
    none = [limit("size", 0.5), Limit(ALL_COSTS[cost], 10.0)]
    for question in (cheapest, lambda costs, limits: nearest_below(costs, 1e9, limits)):
        with pytest.raises(UserError, match=f"found that keeps {cost} at most 10: raise a limit"):
            question(COSTS, none)


def drawn_values(space, seed):
    """Tables of a value that weighs all counts by chance, each about as much as another."""
    counts = BlockCounts(space)
    codes = torch.tensor([space.encode(space.sample(random.Random(one))) for one in range(200)])
    scale = counts.of(codes).std(dim=0)
    weights = torch.randn(len(scale), generator=torch.Generator().manual_seed(seed)).double()
    return counts.weighted(torch.where(scale > 0, weights / scale, 0.0))


def value_of(values, arch):
    return float(values.of(torch.tensor([values.space.encode(arch)])))


@pytest.mark.parametrize(
    "shares", [{}, {"params": 0.5}, {"params": 0.6, "macs": 0.6, "memory": 0.7}]
)
def test_the_best_network_of_a_cost_is_that_of_trying_every_network(shares):
    limits, costs = [limit(*pair) for pair in shares.items()], kept_costs([])
    for seed in range(4):
        values, rng = drawn_values(TINY, seed), random.Random(seed)
        most = rng.uniform(costs[0], 1.2 * costs[-1])
        least = most * rng.choice([0.99, 0.9, 0.5])
        kept = [
            arch
            for arch, spec in zip(ARCHS, SPECS, strict=True)
            if least <= TABLE.predict(spec) <= most and not violation(limits, spec)
        ]
        found = best_within(values, COSTS, least, most, limits)
        assert bool(found) == bool(kept)
        if found:
            arch, cost = found
            assert_keeps(arch, cost, limits)
            assert least <= cost <= most
            best = max(value_of(values, one) for one in kept)
            assert value_of(values, arch) == pytest.approx(best, abs=1e-6)


def test_a_band_may_be_as_narrow_as_one_network():
    """As that of the nearest network below a target is, where networks are few."""
    cost = kept_costs([])[len(SPECS) // 3]
    arch, found = best_within(drawn_values(TINY, 0), COSTS, cost, cost)
    assert found == cost
    assert_keeps(arch, cost)


def test_the_best_network_of_the_whole_space_beats_all_that_chance_and_changes_find():
    """Under a limit on another device too; and no single change within the band makes it better."""
    phone = random_table(DIGITS, 4)
    limits = [Limit(BlockCosts(DIGITS, phone), quantile(phone, DIGITS, 0.5))]
    table = random_table(DIGITS, 5)
    costs, values = BlockCosts(DIGITS, table), drawn_values(DIGITS, 1)
    most = quantile(table, DIGITS, 0.4)
    free, cost = best_within(values, costs, 0.99 * most, most)
    assert 0.99 * most <= cost <= most
    limited, cost = best_within(values, costs, 0.99 * most, most, limits)
    assert 0.99 * most <= cost <= most
    assert_keeps(limited, cost, limits, costs)
    codes = torch.tensor([DIGITS.encode(DIGITS.sample(random.Random(one))) for one in range(2000)])
    for arch, kept in ((free, []), (limited, limits)):
        code = DIGITS.encode(arch)
        changed = [
            (*code[:place], value, *code[place + 1 :])
            for place, size in enumerate(DIGITS.decision_sizes)
            for value in range(size)
        ]
        rows = torch.cat([torch.tensor(changed), codes])
        priced = costs.of(rows)
        fits = (priced >= 0.99 * most) & (priced <= most) & (violations(kept, rows) == 0)
        assert value_of(values, arch) >= float(values.of(rows[fits]).max()) - 1e-6
