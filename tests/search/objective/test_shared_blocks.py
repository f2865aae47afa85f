"""Costs and feasible networks of a cell-based space, against every network of it."""

import dataclasses
import functools
import itertools
import random

import pytest
import torch

from search.objective import feasible
from search.objective.constraints import Limit, violation
from search.objective.costs import BlockCosts
from search.objective.feasible import GAP, best_within, cheapest, costliest, nearest_below
from search.objective.local_search import LocalSearch
from search.objective.targets import Target, resolve_targets
from search.surrogate.counts import BlockCounts, counts_of
from search.surrogate.proposals import indifferent
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from tests.helpers.tables import DIGITS, random_table

SPACE = dataclasses.replace(DIGITS, shared_blocks=True, kernels=(3,))
CODES = list(itertools.product(*map(range, SPACE.decision_sizes)))
ROWS = torch.tensor(CODES)
SPECS = [SPACE.spec(SPACE.decode(code)) for code in CODES]
MODELS = {**CLOSED_FORMS, "ms": random_table(SPACE, 0)}


@functools.cache
def costs_of(name):
    return BlockCosts(SPACE, MODELS[name])


@functools.cache
def values_of(name):
    """What each network costs by itself."""
    return [MODELS[name].predict(spec) for spec in SPECS]


@pytest.mark.parametrize("name", MODELS)
def test_the_table_prices_every_network(name):
    expected = torch.tensor(values_of(name), dtype=torch.float64)
    torch.testing.assert_close(costs_of(name).of(ROWS), expected)


@pytest.mark.parametrize("name", ["macs", "ms"])
def test_the_expected_cost_is_the_mean_over_all_networks(name):
    sizes = SPACE.decision_sizes
    shares = [torch.rand(size, dtype=torch.float64).softmax(0) for size in sizes]
    padded = torch.stack([torch.cat([one, one.new_zeros(4 - len(one))]) for one in shares])
    weights = padded[torch.arange(len(sizes)), ROWS].prod(1)
    expected = weights @ torch.tensor(values_of(name), dtype=torch.float64)
    torch.testing.assert_close(costs_of(name).expected(padded), expected)


def test_the_counts_of_a_surrogate_are_those_of_its_networks():
    counts = BlockCounts(SPACE)
    for place in random.Random(0).sample(range(len(CODES)), 20):
        (row,) = counts.of(ROWS[place : place + 1]).tolist()
        named = dict(zip(counts.names, row, strict=True))
        assert {name: value for name, value in named.items() if value} == pytest.approx(
            {name: value for name, value in counts_of(SPECS[place]).items() if value}
        )


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", ["macs", "params", "size", "ms"])
def test_the_extremes_and_the_nearest_are_those_of_trying_every_network(name, many, monkeypatch):
    if many:  # edges, as more choices would give
        monkeypatch.setattr(feasible, "MOST_EDGES", 10)
    costs, values = costs_of(name), values_of(name)
    assert cheapest(costs)[1] == pytest.approx(min(values), rel=1e-12)
    assert costliest(costs)[1] == pytest.approx(max(values), rel=1e-12)
    rng = random.Random(0)
    for target in (rng.uniform(min(values), max(values)) for _ in range(5)):
        arch, cost = nearest_below(costs, target)
        nearest = max(one for one in values if one <= target)
        assert nearest - 2 * GAP * target <= cost <= nearest
        assert MODELS[name].predict(SPACE.spec(arch)) == cost
        assert SPACE.decode(SPACE.encode(arch)) == arch


def test_the_best_and_the_cheapest_keep_constraints():
    middle = {name: sorted(values_of(name))[len(CODES) // 2] for name in MODELS}
    limits = [Limit(costs_of(name), middle[name]) for name in ("memory", "params")]
    kept = [not violation(limits, spec) for spec in SPECS]
    costs, macs = costs_of("ms"), costs_of("macs")
    prices = [one for one, keeps in zip(values_of("ms"), kept, strict=True) if keeps]
    assert cheapest(costs, limits)[1] == pytest.approx(min(prices), rel=1e-9)
    least, most = min(prices), sorted(prices)[len(prices) // 2]
    found = best_within(macs, costs, least, most, limits)
    assert found is not None
    allowed = [
        own
        for own, price, keeps in zip(values_of("macs"), values_of("ms"), kept, strict=True)
        if keeps and least <= price <= most
    ]
    assert MODELS["macs"].predict(SPACE.spec(found[0])) == pytest.approx(max(allowed), rel=1e-9)
    with pytest.raises(UserError, match="no network of the space was found that keeps"):
        cheapest(costs, [Limit(costs_of("memory"), min(values_of("memory")) - 1)])


def test_targets_are_relative_percentiles_and_numbers():
    wanted = ["p40", "0.8x mnasnet_small", 3e6]
    for target in resolve_targets(wanted, costs_of("macs")):
        assert any(map(target.is_hit_by, values_of("macs")))


def test_local_search_ends_in_the_band():
    costs, values = costs_of("macs"), sorted(values_of("macs"))
    target = Target("t", values[len(values) // 2], values[len(values) // 2 - 8])
    sizes = torch.tensor(SPACE.decision_sizes)
    found = LocalSearch(costs, target, indifferent(sizes)).find(
        ROWS[::10], 4, torch.Generator().manual_seed(0)
    )
    assert len(found) >= 4
    assert all(target.is_hit_by(cost) for cost in costs.of(found).tolist())
