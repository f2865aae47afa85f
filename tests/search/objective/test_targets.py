"""Targets, counts as prices, and what a space can reach."""

import math
import os
import random
import sys

import pytest

from search.objective.costs import BlockCosts, cost_model, quantile
from search.objective.feasible import _quiet, cheapest, costliest
from search.objective.targets import resolve_target, resolve_targets
from supernet.cost.counts import count
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace, reference_spec, reference_specs
from tests.helpers.tables import TINY, random_table


@pytest.mark.parametrize("unit", ["macs", "params"])
def test_counts_are_the_sum_of_layers_and_ends(unit):
    spec = MnasSpace().spec(MnasSpace().sample(random.Random(0)))
    table = CLOSED_FORMS[unit]
    assert table.predict(spec) == getattr(count(spec), unit)
    layers = sum(table.layer_cost(layer, "relu") for layer in spec.layers())
    assert table.stem_and_head_cost(spec) + layers == table.predict(spec)


def test_counted_costs_carry_no_table_and_no_device():
    assert (CLOSED_FORMS["macs"].hash, CLOSED_FORMS["macs"].device) == ("", "")


def test_unknown_cost_is_refused():
    with pytest.raises(UserError, match="cost is 'joules', allowed are ms, macs, params"):
        cost_model("joules", TINY, None, "")


def test_cost_model_of_counts_measures_nothing(tmp_path):
    assert cost_model("macs", TINY, None, tmp_path / "tables") == CLOSED_FORMS["macs"]
    assert not (tmp_path / "tables").exists()


def test_cost_model_loads_the_table_that_is_named(tmp_path):
    table = random_table(TINY, 3)
    table.write(tmp_path / "phone.json")
    assert cost_model("ms", TINY, tmp_path / "phone.json", tmp_path).hash == table.hash


def test_a_table_beside_a_count_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"phone\.json prices ms, not macs"):
        cost_model("macs", TINY, "phone.json", tmp_path)


@pytest.mark.parametrize("text", ["3.5", " 3.5 ", 3.5, "35e-1"])
def test_a_number_is_itself(text):
    assert resolve_target(text, CLOSED_FORMS["macs"], TINY) == 3.5


@pytest.mark.parametrize("text", ["0.8x mnasnet_a1", ".8 x  mnasnet_a1"])
def test_a_relative_target_scales_the_published_network_at_the_datas_size(text):
    table = CLOSED_FORMS["macs"]
    spec = reference_spec("mnasnet_a1", TINY)
    assert (spec.resolution, spec.classes, spec.stem_stride) == (16, 10, 1)
    assert resolve_target(text, table, TINY) == pytest.approx(0.8 * count(spec).macs)


def test_all_published_networks_are_references():
    assert [spec.resolution for spec in reference_specs(TINY)] == [16] * 4


def test_a_percentile_splits_fresh_samples_of_the_space_in_its_proportion():
    table, space = CLOSED_FORMS["macs"], MnasSpace()
    target = resolve_target("p40", table, space)
    rng = random.Random(99)
    below = [table.predict(space.spec(space.sample(rng))) <= target for _ in range(2000)]
    # Two samples of 2,000 differ by 5 standard errors, 0.077, once in a million.
    assert math.isclose(sum(below) / 2000, 0.4, abs_tol=0.077)


def test_percentiles_are_ordered_and_end_at_the_extremes_of_the_sample():
    table = CLOSED_FORMS["macs"]
    values = [quantile(table, TINY, q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values)
    costs = BlockCosts(TINY, table)
    assert values[0] == cheapest(costs)[1]
    assert values[-1] == costliest(costs)[1]


@pytest.mark.parametrize(
    "text",
    [
        "fast",
        "",
        "0.8x",
        "x mnasnet_a1",
        "p",
        "pp4",
        "40p",
        "p101",
        "-3",
        "0",
        "nan",
        "inf",
        "0x mnasnet_a1",
        "0.8x resnet50",
        True,
    ],
)
def test_a_malformed_target_is_refused_in_one_line(text):
    with pytest.raises(UserError) as caught:
        resolve_target(text, CLOSED_FORMS["macs"], TINY)
    assert "\n" not in str(caught.value)
    assert str(text).split(" ")[-1] in str(caught.value)


def test_a_target_below_the_cheapest_network_is_refused_with_both_numbers():
    costs = BlockCosts(TINY, CLOSED_FORMS["params"])
    least = cheapest(costs)[1]
    resolve_targets(least, costs)
    with pytest.raises(UserError) as caught:
        resolve_targets(least / 2, costs)
    assert f"target {least / 2:.4g} params lies below" in str(caught.value)
    assert f", {least:.4g} params:" in str(caught.value)


def test_what_the_solver_prints_of_itself_is_kept_from_the_user(capfd):
    sys.stdout.write("before\n")
    with _quiet():
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution\n")
    sys.stdout.write("after\n")
    assert capfd.readouterr().out == "before\nafter\n"
