"""Targets, counts as prices, and what a space can reach."""

import itertools
import math
import random

import pytest

from search.objective.costs import cost_model, quantile, resolve_target
from search.objective.feasible import fastest, slowest
from search.objective.targets import check_target
from supernet.cost.counts import count
from supernet.cost.model import CostTable
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace, reference_spec, reference_specs
from tests.helpers.tables import random_table

TINY = MnasSpace(
    ops=("conv", "mbconv3"),
    kernels=(3, 5),
    ses=(0.0,),
    skips=("none", "identity", "pool"),
    filters=(0.75, 1.25),
    layers=(0, 1),
    base_filters=(16, 32),
    base_layers=(1, 2),
    strides=(1, 2),
    resolution=16,
    stem_stride=1,
    stem=16,
    head=32,
    classes=10,
)


def every_arch(space):
    choices = map(space.block_choices, range(space.num_blocks))
    return [Arch(blocks) for blocks in itertools.product(*choices)]


TABLES = {
    "macs": CostTable("macs"),
    "params": CostTable("params"),
    "ms-0": random_table(TINY, 0),
    "ms-1": random_table(TINY, 1),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_dynamic_programming_finds_what_trying_every_network_finds(table):
    costs = [table.predict(TINY.spec(arch)) for arch in every_arch(TINY)]
    for search, expected in ((fastest, min(costs)), (slowest, max(costs))):
        arch, cost = search(TINY, table)
        assert cost == pytest.approx(expected, rel=1e-12)
        assert table.predict(TINY.spec(arch)) == cost
        assert TINY.canonical(arch) == arch


@pytest.mark.parametrize("unit", ["macs", "params"])
def test_counts_are_the_sum_of_layers_and_ends(unit):
    spec = MnasSpace().spec(MnasSpace().sample(random.Random(0)))
    table = CostTable(unit)
    assert table.predict(spec) == getattr(count(spec), unit)
    layers = sum(table.layer_cost(layer, "relu") for layer in spec.layers())
    assert table.stem_and_head_cost(spec) + layers == table.predict(spec)


def test_counted_costs_carry_no_table_and_no_device():
    assert (CostTable("macs").hash, CostTable("macs").device) == ("", "")


def test_unknown_cost_is_refused():
    with pytest.raises(UserError, match="cost is 'joules', allowed are ms, macs and params"):
        CostTable("joules")


def test_cost_model_of_counts_measures_nothing(tmp_path):
    assert cost_model("macs", TINY, None, tmp_path / "tables") == CostTable("macs")
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
    assert resolve_target(text, CostTable("macs"), TINY) == 3.5


@pytest.mark.parametrize("text", ["0.8x mnasnet_a1", ".8 x  mnasnet_a1"])
def test_a_relative_target_scales_the_published_network_at_the_datas_size(text):
    table = CostTable("macs")
    spec = reference_spec("mnasnet_a1", TINY)
    assert (spec.resolution, spec.classes, spec.stem_stride) == (16, 10, 1)
    assert resolve_target(text, table, TINY) == pytest.approx(0.8 * count(spec).macs)


def test_all_published_networks_are_references():
    assert [spec.resolution for spec in reference_specs(TINY)] == [16] * 4


def test_a_percentile_splits_fresh_samples_of_the_space_in_its_proportion():
    table, space = CostTable("macs"), MnasSpace()
    target = resolve_target("p40", table, space)
    rng = random.Random(99)
    below = [table.predict(space.spec(space.sample(rng))) <= target for _ in range(2000)]
    # Two samples of 2,000 differ by 5 standard errors, 0.077, once in a million.
    assert math.isclose(sum(below) / 2000, 0.4, abs_tol=0.077)


def test_percentiles_are_ordered_and_end_at_the_extremes_of_the_sample():
    table = CostTable("macs")
    values = [quantile(table, TINY, q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values)
    assert values[0] == fastest(TINY, table)[1]
    assert values[-1] == slowest(TINY, table)[1]


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
        resolve_target(text, CostTable("macs"), TINY)
    assert "\n" not in str(caught.value)
    assert str(text).split(" ")[-1] in str(caught.value)


def test_a_target_below_the_fastest_network_is_refused_with_both_numbers():
    table = CostTable("params")
    least = fastest(TINY, table)[1]
    check_target(least, table, TINY)
    with pytest.raises(UserError) as caught:
        check_target(least / 2, table, TINY)
    assert f"target {least / 2:.4g} params lies below" in str(caught.value)
    assert f", {least:.4g} params:" in str(caught.value)
