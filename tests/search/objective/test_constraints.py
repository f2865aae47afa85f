"""Memory, file size and constraints: closed forms, and what a space can reach under them."""

import dataclasses
import itertools
import math
import random
from types import SimpleNamespace

import pytest
import torch

from search.controllers.settings import ControllerSettings
from search.objective.constraints import Constraint, Limit, violation, violations
from search.objective.costs import BlockCosts
from search.objective.feasible import cheapest
from search.objective.local_search import LocalSearch
from search.objective.objective import Objective, resolve_constraints
from search.objective.reward import Reward
from search.objective.targets import resolve_targets
from search.selection.selection import final_codes
from search.step import make_generator
from supernet.arch_records import ConstraintUse
from supernet.cost.counts import count, layer_memory
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.published import published_spec
from supernet.space.stage import Layer
from tests.helpers.tables import DIGITS, TINY, random_table
from tests.helpers.toys import toy_objective

ARCHS = [
    Arch(choice) for choice in itertools.product(*map(TINY.block_choices, range(TINY.num_blocks)))
]
SPECS = [TINY.spec(arch) for arch in ARCHS]
TABLE = random_table(TINY, 0)
COSTS = BlockCosts(TINY, TABLE)
MODELS = {**CLOSED_FORMS, "ms": random_table(TINY, 1)}
SHORT = dataclasses.replace(
    DIGITS, base_filters=(16, 24, 40, 80), base_layers=(1, 3, 3, 4), strides=(1, 2, 2, 2)
)
"""Of four of its seven blocks."""


def limit(cost, share):
    """The value that a share of all networks of TINY keeps."""
    values = sorted(MODELS[cost].predict(spec) for spec in SPECS)
    return Limit(BlockCosts(TINY, MODELS[cost]), values[int(share * (len(values) - 1))])


# --- closed forms -----------------------------------------------------------------------------


def test_memory_of_a_layer_is_that_of_its_widest_moment():
    # 16 channels of 8 px widen to 96 and are kept for the shortcut while 96 become 96.
    wide = Layer("mbconv", 3, 6, 0.0, "identity", 16, 16, 1, 8)
    assert layer_memory(wide) == 4 * 64 * (96 + 96 + 16)
    assert layer_memory(Layer("mbconv", 3, 6, 0.0, "none", 16, 16, 1, 8)) == 4 * 64 * (96 + 96)
    # The stride leaves a quarter of the expanded map, so that expanding takes most.
    strided = Layer("mbconv", 3, 6, 0.0, "none", 16, 16, 2, 8)
    assert layer_memory(strided) == 4 * (64 * 96 + 16 * 96)
    assert layer_memory(Layer("conv", 3, 1, 0.0, "none", 16, 32, 1, 8)) == 4 * 64 * (16 + 32)
    # What is gated stands beside its gated copy.
    assert layer_memory(Layer("conv", 3, 1, 0.25, "none", 16, 32, 1, 8)) == 4 * 64 * (32 + 32)


def test_memory_of_a_network_is_that_of_its_widest_layer():
    spec = published_spec("mobilenet_v2")
    # In its second stage 96 channels of 112 px become as many of 56 px.
    assert CLOSED_FORMS["memory"].predict(spec) == 4 * 96 * (112**2 + 56**2)


def test_an_exported_file_holds_the_weights_and_little_else():
    spec = published_spec("mnasnet_a1")
    weights = 4 * count(spec).params
    assert 0.99 * weights < CLOSED_FORMS["size"].predict(spec) < 1.02 * weights


@pytest.mark.parametrize("cost", ["memory", "size"])
def test_prices_of_parts_make_the_price_of_a_network(cost):
    model = MODELS[cost]
    combine = max if cost == "memory" else math.fsum
    for spec in random.Random(0).sample(SPECS, 50):
        layers = [model.layer_cost(layer, "relu") for layer in spec.layers()]
        assert combine([model.stem_and_head_cost(spec), *layers]) == model.predict(spec)


def test_the_violation_of_many_codes_at_once_is_that_of_each():
    limits = [limit(cost, 0.3) for cost in MODELS]
    rng = random.Random(0)
    archs = [TINY.sample(rng) for _ in range(100)]
    codes = torch.tensor([TINY.encode(arch) for arch in archs])
    expected = torch.tensor([violation(limits, TINY.spec(arch)) for arch in archs]).double()
    torch.testing.assert_close(violations(limits, codes), expected)
    assert 0 < (expected > 0).double().mean() < 1


# --- targets and walks ------------------------------------------------------------------------


def test_a_target_below_what_constraints_leave_is_refused():
    tight = limit("ms", 0.01)
    _, least = cheapest(COSTS, [tight])
    with pytest.raises(UserError, match="below the cheapest network that keeps the constraints"):
        resolve_targets(0.999 * least, COSTS, [tight])
    (target,) = resolve_targets(1.001 * least, COSTS, [tight])
    assert target.least <= least


def test_walks_to_a_target_keep_the_constraints():
    limits = resolve_constraints(
        [Constraint("params", "p30"), Constraint("memory", "p40")], SHORT, ""
    )
    costs = BlockCosts(SHORT, random_table(SHORT, 3))
    (target,) = resolve_targets("p50", costs, limits)
    rng = random.Random(0)
    starts = torch.tensor([SHORT.encode(SHORT.sample(rng)) for _ in range(40)])
    walks = LocalSearch(costs, target, lambda rows: torch.zeros(len(rows), 24, 4), limits)
    found = walks.find(starts, 40, make_generator("final", 0))
    assert len(found) >= 40
    assert not violations(limits, found).any()
    assert all(target.is_hit_by(cost) for cost in costs.of(found).tolist())


def test_block_costs_are_tabulated_once_for_each_model(monkeypatch):
    built, tabulate = [], BlockCosts.__init__

    def counted(self, space, model):
        built.append(model.unit)
        tabulate(self, space, model)

    monkeypatch.setattr(BlockCosts, "__init__", counted)
    objective = Objective.resolve(
        *(TINY, Reward(), ["p50", "p80", "p95"], "macs", None, ""),
        [Constraint("params", "p70"), Constraint("memory", "p70")],
    )
    controller = ControllerSettings("ppo").build(TINY.decision_sizes, samples=4, keep=4, targets=3)
    controller.prepare(objective)
    final = SimpleNamespace(
        space=TINY, objective=objective, controller=controller, seed=0, device="cpu"
    )
    assert final_codes(final, 8)
    assert sorted(built) == ["macs", "memory", "params"]


# --- rewards ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("absolute", 0.8 - 0.1 * 0.5), ("soft", 0.8 * 1.5**-0.07), ("hard", 0.8 / 1.5)],
)
def test_a_broken_constraint_costs_what_a_broken_target_does(kind, expected):
    reward = Reward(kind)
    assert reward.constrained(0.8, 0.5) == pytest.approx(expected)
    assert reward.constrained(0.8, 0.0) == 0.8


def test_a_gradient_of_the_cost_heeds_constraints_but_knows_no_peak_memory():
    table, sizes = random_table(TINY, 0), TINY.decision_sizes
    params, memory = limit("params", 0.05), limit("memory", 0.5)
    target = TABLE.predict(SPECS[0])

    def prepared(*limits):
        controller = ControllerSettings("cost_gradient").build(sizes, samples=4, keep=4)
        objective = toy_objective(
            Reward(), target, space=TINY, cost_model=table, constraints=limits
        )
        controller.prepare(objective)
        return controller

    assert prepared()._expected_violation() == 0.0
    (over,) = prepared(params)._expected_violation().tolist()
    mean = sum(CLOSED_FORMS["params"].predict(spec) for spec in SPECS) / len(SPECS)
    assert over == pytest.approx(mean / params.value - 1, rel=1e-4)
    with pytest.raises(UserError, match="no gradient of peak memory"):
        prepared(memory)


# --- settings and files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("watts", 3.0), "cost is 'watts', allowed are ms, macs, params, memory, size"),
        (("params", 3.0, "a.json"), "table a.json prices ms, not params"),
    ],
)
def test_constraints_that_mean_nothing_are_refused(settings, reason):
    with pytest.raises(UserError, match=reason):
        Constraint(*settings)


@pytest.mark.parametrize("value", [0, -3, "lots", "2x nothing"])
def test_limits_that_mean_nothing_are_refused(value):
    with pytest.raises(UserError, match="constraint on params: "):
        resolve_constraints([Constraint("params", value)], TINY, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cost": "watts"}, "cost is 'watts'"),
        ({"limit": -1.0}, "params limit is -1.0"),
        ({"limit": 5.0}, "above its limit 5.0"),
        ({"predicted": 7.0}, "params is 7.0, but the network has"),
    ],
)
def test_a_changed_constraint_in_a_file_is_refused(change, reason):
    spec = SPECS[0]
    params = float(count(spec).params)
    ConstraintUse("params", 2 * params, params).check(spec)
    with pytest.raises(UserError, match=reason):
        ConstraintUse(
            **({"cost": "params", "limit": 2 * params, "predicted": params} | change)
        ).check(spec)
