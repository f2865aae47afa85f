"""search.truth: the public tables, one's own, and the objectives on them."""

import csv
import itertools

import numpy as np
import pytest
import torch

from search.truth.objectives import TableCosts, make_objective
from search.truth.sources import Source
from search.truth.tables import ACCEL_SPACE, read_accel, read_macro
from search.truth.truth import Truth
from supernet.errors import UserError
from tests.helpers.trained_tables import macro_row, with_counts, worth, write_csv


def test_networks_of_accel_lie_in_its_space(data):
    networks = read_accel(data / "accel-nasbench/networks.csv")
    assert len(networks.specs) == 400
    archs = [ACCEL_SPACE.decode(code) for code in networks.codes.tolist()]
    assert [ACCEL_SPACE.spec(arch) for arch in archs] == networks.specs
    assert networks.accuracies[:, 0].tolist() == [worth(arch) for arch in archs]
    assert networks.deviation == pytest.approx(0.3, abs=0.05)


def test_a_table_that_is_missing_or_another_is_refused_in_one_line(data, tmp_path):
    with pytest.raises(UserError, match=r"gone.csv is missing: docs/outside-truth.md says where"):
        read_accel(tmp_path / "gone.csv")
    text = (data / "accel-nasbench/networks.csv").read_text()
    other = tmp_path / "other.csv"
    other.write_text(text.replace("se7", "se8"))
    with pytest.raises(UserError, match=r"other\.csv lacks the column se7: docs/outside"):
        read_accel(other)
    rows = list(csv.DictReader(text.splitlines()))
    rows[0]["k3"] = {"3": "5", "5": "3"}[rows[0]["k3"]]
    write_csv(other, rows)
    with pytest.raises(UserError, match=r"network 0: params_m is .*, but a network of its columns"):
        read_accel(other)
    other.write_text(text.replace("\n50", "\n50x", 1).replace(",6,", ",9,", 1))
    with pytest.raises(UserError, match="describes no such networks"):
        read_accel(other)


def test_copies_in_macro_are_one_network_and_a_first_layer_of_nothing_is_a_convolution(tmp_path):
    ops = [(1, 2, 1, 0, 2, 2, 1, 1), (1, 2, 1, 2, 0, 2, 1, 1), (0, 2, 1, 1, 1, 1, 1, 1)]
    path = write_csv(tmp_path / "networks.csv", list(with_counts([macro_row(one) for one in ops])))
    networks = read_macro(path)
    one, other = networks.specs
    found = [(stage.expand, stage.kernel, stage.filters, stage.stride) for stage in one.stages]
    assert found[:4] == [(3, 3, 64, 2), (6, 5, 64, 1), (3, 3, 128, 2), (6, 5, 128, 1)]
    assert [stage[3] for stage in found[4:]] == [2, 1, 1]
    assert (other.stages[0].op, other.stages[0].kernel, other.stages[0].stride) == ("conv", 1, 2)
    assert list(networks.copies.values()) == [0, 0, 1]
    assert networks.accuracies.shape == (2, 3)


def test_macros_costs_and_truths_are_those_of_every_code(macro):
    assert len(macro.networks.specs) == 3969
    assert macro.is_complete
    assert macro.held_out.startswith("the table knows all of its 3,969 networks")
    codes = [(*ops, 0, 0, 0, 0) for ops in itertools.product(range(3), repeat=8)][::97]
    rows = torch.tensor(codes)
    costs = TableCosts(macro.networks, "macs")
    expected = list(with_counts([macro_row(code[:8]) for code in codes]))
    assert costs.of(rows).tolist() == [row["macs"] for row in expected]
    truths = [np.mean([row[f"acc_s{seed}"] for seed in (1, 2, 3)]) for row in expected]
    assert macro(rows).tolist() == pytest.approx(truths)
    shown = macro.trained(rows, 3)
    seeds = [[row[f"acc_s{seed}"] for seed in (1, 2, 3)] for row in expected]
    assert all(one in own for one, own in zip(shown, seeds, strict=True))
    assert np.array_equal(macro.trained(rows, 3), shown)
    assert not np.array_equal(macro.trained(rows, 4), shown)


def test_the_expected_cost_is_that_of_samples_and_has_a_gradient(macro):
    costs = TableCosts(macro.networks, "macs")
    probabilities = torch.zeros(12, 3)
    probabilities[:8] = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    probabilities[8:, 0] = 1
    probabilities = (probabilities / probabilities.sum(1, keepdim=True)).requires_grad_()
    drawn = torch.multinomial(probabilities.detach(), 4000, replacement=True).T
    expected = costs.expected(probabilities)
    assert float(expected.detach()) == pytest.approx(float(costs.of(drawn).mean()), rel=0.02)
    expected.backward()
    assert (probabilities.grad[:8, 2] > probabilities.grad[:8, 1]).all()


def test_targets_of_a_table_are_numbers_or_percentiles(macro):
    costs = np.sort(macro.networks.cost("macs"))
    target = make_objective(macro.networks, "macs", "p50").targets[0]
    assert target.cost == costs[len(costs) // 2]
    assert make_objective(macro.networks, "macs", "5e7").targets[0].cost == 5e7
    for text, words in (
        ("p101", "neither a number of macs, nor a percentile of NAS-Bench-Macro"),
        ("fast", "target 'fast' is neither"),
        ("1", "target 1 macs lies below the cheapest network of NAS-Bench-Macro"),
    ):
        with pytest.raises(UserError, match=words):
            make_objective(macro.networks, "macs", text)
    with pytest.raises(UserError, match="has no cost ms: take one of macs, params"):
        make_objective(macro.networks, "ms", "p50")


OWN = {"networks": "mine.csv", "accuracies": "[first, second]"}


def own_table(folder, rows, **told):
    """A table of one's own; its yaml file."""
    write_csv(folder / "mine.csv", rows)
    path = folder / "mine.yaml"
    path.write_text("\n".join(f"{name}: {value}" for name, value in {**OWN, **told}.items()))
    return str(path)


def decisions(**more):
    rows = [
        {"width": w, "depth": d, "first": 70 + w / 8 + d, "second": 71 + w / 8 + d, "ms": w * d}
        for w, d in itertools.product((8, 16), (1, 2, 3))
    ]
    return [{**row, **more} for row in rows]


DECISIONS = {"decisions": "[width, depth]", "costs": "[ms]"}


def test_a_table_of_decisions_of_ones_own_is_read_and_rows_of_one_network_are_merged(tmp_path):
    rows = decisions()
    path = own_table(tmp_path, [*rows, {**rows[0], "first": rows[0]["first"] + 2}], **DECISIONS)
    networks = Source(path, None).read()
    assert networks.name == "mine"
    assert networks.sizes == (2, 3, 1, 1, 1, 1)
    truth = Truth(networks)
    assert truth.is_complete
    assert networks.accuracies[0].tolist() == [73.0, 73.0]
    costs = TableCosts(networks, "ms")
    assert costs.of(torch.tensor(networks.codes)).tolist() == networks.cost("ms").tolist()
    with pytest.raises(UserError, match="ms of mine is no sum over decisions, so that cost_grad"):
        costs.expected(torch.ones(6, 3))


def test_what_a_table_of_decisions_lacks_must_have_a_cost(tmp_path):
    networks = Source(own_table(tmp_path, decisions()[:-1], **DECISIONS), None).read()
    with pytest.raises(UserError, match="mine lacks networks, and its ms is no sum over decisions"):
        TableCosts(networks, "ms")
    summed = [{**row, "ms": row["width"] + row["depth"]} for row in decisions()[:-1]]
    networks = Source(own_table(tmp_path, summed, **DECISIONS), None).read()
    missing = torch.tensor([[1, 2, 0, 0, 0, 0]])
    assert TableCosts(networks, "ms").of(missing).tolist() == pytest.approx([19.0])


def test_a_table_of_a_space_is_read_by_the_names_of_its_decisions(tmp_path):
    space = "ops: [sepconv, mbconv6]\nskips: [identity]\nses: [0.0]\nfilters: [1.0]\n"
    (tmp_path / "space.yaml").write_text(space + "layers: [0]\nkernels: [3, 5]\n")
    row = {f"op{block}": "mbconv6" for block in range(1, 8)}
    row |= {f"kernel{block}": "3.0" for block in range(1, 8)}
    rows = [row | {"first": 70, "second": 71}, row | {"op1": "sepconv", "first": 7, "second": 9}]
    networks = Source(own_table(tmp_path, rows, space="space.yaml"), None).read()
    (same,) = {tuple(stage.op for stage in spec.stages[1:]) for spec in networks.specs}
    assert same == ("mbconv",) * 6
    assert sorted(networks.accuracies.mean(axis=1).tolist()) == [8, 70.5]
    assert [spec.stages[0].op for spec in networks.specs] == ["sepconv", "mbconv"]
    rows[1]["op2"] = "conv"
    with pytest.raises(UserError, match=r"mine.csv, line 3: op2 is 'conv', the space has sepconv"):
        Source(own_table(tmp_path, rows, space="space.yaml"), None).read()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "must have a space or decisions, one of the two"),
        ({"decisions": "[width]"}, "costs go with decisions"),
        ({**DECISIONS, "accuracies": "[]"}, "accuracies is empty: name at least one column"),
        ({**DECISIONS, "accuracies": "[third]"}, "mine.csv lacks the column third"),
        ({**DECISIONS, "speed": "1"}, "unknown field 'speed', allowed are networks"),
        ({**DECISIONS, "networks": "gone.csv"}, "gone.csv is missing"),
        ({**DECISIONS, "accuracies": "[name]"}, "describes no such networks"),
    ],
)
def test_a_description_that_cannot_be_is_refused_in_one_line(tmp_path, told, words):
    path = own_table(tmp_path, decisions(name="x"), **told)
    with pytest.raises(UserError, match=words) as refused:
        Source(path, None).read()
    assert "\n" not in str(refused.value)
