"""benchmarks.outside_truth: its tables, its noise, and whole searches on them."""

import csv
import dataclasses
import random

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from benchmarks.outside_truth import truth
from benchmarks.outside_truth.__main__ import Searches, main, make_fields
from benchmarks.outside_truth.counts import SETS, inputs_of, taus
from benchmarks.outside_truth.report import Key, by_seed, ratio
from benchmarks.outside_truth.searches import by_tunings
from benchmarks.outside_truth.simulation import SETTINGS, Simulator, noise_for
from benchmarks.outside_truth.tables import ACCEL_SPACE, OPS, read_accel, read_macro
from benchmarks.outside_truth.truth import Truth
from search.surrogate.proposals import hits
from supernet.cost.counts import count
from supernet.errors import UserError

SE, WIDE = 2.0, 0.5
"""Points of each block with squeeze-and-excitation, and of each in expansion 6."""
EXPANSIONS = {op: expansion for expansion, op in OPS.items()}


def worth(arch):
    """Top-1 of an invented truth that adds up."""
    return 50 + sum(SE * (one.se > 0) + WIDE * (one.op == "mbconv6") for one in arch.blocks)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """400 invented networks in the columns of Accel-NASBench's file."""
    path, rng = tmp_path_factory.mktemp("accel") / "networks.csv", random.Random(0)
    rows = []
    for _ in range(400):
        arch = ACCEL_SPACE.sample(rng)
        row = {"top1": worth(arch), "params_m": count(ACCEL_SPACE.spec(arch)).params / 1e6}
        for block, one in enumerate(arch.blocks, 1):
            row |= {f"e{block}": EXPANSIONS[one.op], f"k{block}": one.kernel}
            row |= {f"l{block}": one.layers + 2, f"se{block}": int(one.se > 0)}
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def field(table):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "DRAWS", 60_000)
        patch.setattr(truth, "GENERATIONS", 4)
        found = make_fields(Truth(read_accel(table)), ["p50"])["p50"]
        assert found.best >= found.worths.max()
    return found


def test_networks_of_the_table_lie_in_its_space(table):
    networks = read_accel(table)
    assert len(networks.specs) == 400
    archs = [ACCEL_SPACE.decode(code) for code in networks.codes.tolist()]
    assert [ACCEL_SPACE.spec(arch) for arch in archs] == networks.specs
    assert networks.accuracies[:, 0].tolist() == [worth(arch) for arch in archs]


def test_a_table_that_is_missing_or_another_is_refused_in_one_line(table, tmp_path):
    with pytest.raises(UserError, match=r"gone.csv is missing: docs/outside-truth.md says where"):
        read_accel(tmp_path / "gone.csv")
    text = table.read_text()
    other = tmp_path / "other.csv"
    other.write_text(text.replace("se7", "se8"))
    with pytest.raises(UserError, match=r"other\.csv lacks the column se7: docs/outside"):
        read_accel(other)
    rows = list(csv.DictReader(text.splitlines()))
    rows[0]["k3"] = {"3": "5", "5": "3"}[rows[0]["k3"]]
    with other.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(UserError, match=r"network 0: params_m is .*, but a network of its columns"):
        read_accel(other)
    other.write_text(text.replace("\n50", "\n50x", 1).replace(",6,", ",9,", 1))
    with pytest.raises(UserError, match="describes no such networks"):
        read_accel(other)


def test_macro_networks_are_those_without_an_empty_first_layer_each_once(tmp_path):
    path = tmp_path / "macro.csv"
    names = [*(f"op{number}" for number in range(1, 9)), "acc_s1", "acc_s2", "acc_s3"]
    rows = ["1,2,1,0,2,2,1,1", "1,2,1,2,0,2,1,1", "0,2,1,1,1,1,1,1"]
    path.write_text("\n".join([",".join(names), *(f"{row},90,91,92" for row in rows)]))
    networks = read_macro(path)
    # The first two are one network, the third is none of ours.
    (spec,) = networks.specs
    assert networks.accuracies.tolist() == [[90, 91, 92]]
    found = [(one.expand, one.kernel, one.filters, one.stride) for one in spec.stages]
    assert found[:4] == [(3, 3, 64, 2), (6, 5, 64, 1), (3, 3, 128, 2), (6, 5, 128, 1)]
    assert [one[3] for one in found[4:]] == [2, 1, 1]


def test_noise_leaves_the_stated_tau_and_is_the_same_for_who_looks_twice(field):
    rows = field.rows[:500]
    luck = np.random.default_rng(1).normal(size=len(field.worths))
    for tau in (0.25, 0.6):
        seen = field.worths + noise_for(field, tau) * luck
        assert kendalltau(seen, field.worths).statistic == pytest.approx(tau, abs=0.06)
    for setting in SETTINGS.values():
        simulator = Simulator(field, setting, seed=3)
        seen = simulator.seen(rows, setting.label, purpose=1)
        assert kendalltau(seen, field.truth(rows)).statistic == pytest.approx(
            setting.label, abs=0.12
        )
        again = simulator.seen(rows.flip(0), setting.label, purpose=1)
        assert np.array_equal(again[::-1], seen)
        assert not np.array_equal(simulator.seen(rows, setting.label, purpose=2), seen)


def test_bias_is_alike_for_all_purposes_and_luck_is_not(field):
    rows = field.rows[:500]

    def alike(name):
        setting = SETTINGS[name]
        simulator = Simulator(field, setting, seed=1)
        one, other = (
            simulator.seen(rows, setting.label, purpose) - field.truth(rows) for purpose in (1, 2)
        )
        return np.corrcoef(one, other)[0, 1]

    assert alike("clear") == pytest.approx(0, abs=0.1)
    assert alike("biased") == pytest.approx(0.5, abs=0.1)


def test_a_search_that_sees_the_truth_finds_nearly_the_best(field):
    sharp = dataclasses.replace(SETTINGS["clear"], label=0.97, final=0.98)
    code = by_tunings("evolution")(field, sharp, 0)
    row = torch.tensor([code])
    assert bool(hits(field.objective, field.target, row).all())
    regret, of_mean = field.best - field.truth(row)[0], field.best - field.worths.mean()
    assert regret < 0.25 * of_mean


def test_rows_are_kept_and_found_again(field, tmp_path, monkeypatch):
    key = Key("random", "clear", "p50")
    row = Searches({"p50": field}, tmp_path).row(key, 0)
    assert row["regret"] == pytest.approx(field.best - row["accuracy"])
    again = Searches({"p50": field}, tmp_path)
    monkeypatch.setattr(again, "_search", None)
    assert again.row(key, 0) == row
    assert len((tmp_path / "outside_truth.jsonl").read_text().splitlines()) == 1


def test_seeds_without_all_targets_are_left_out_and_ratios_are_paired():
    rows = [
        {"seed": seed, "target": target, "regret": seed + 1.0}
        for seed, target in ((0, "p20"), (0, "p50"), (1, "p20"), (1, "p50"), (2, "p20"))
    ]
    assert by_seed(rows) == {0: 1.0, 1: 2.0}
    found = ratio({0: 1.0, 1: 2.0, 5: 9.0}, {0: 2.0, 1: 4.0})
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_counts_that_hold_the_truth_rank_what_was_not_fitted(table):
    networks = read_accel(table)
    inputs = inputs_of(networks.specs, SETS["today's"])
    assert inputs.std(axis=0) == pytest.approx(np.ones(inputs.shape[1]))
    assert taus(inputs, networks.accuracies, 45).mean() > 0.7
    rng = np.random.default_rng(0)
    assert abs(taus(inputs, rng.normal(size=(400, 1)), 45).mean()) < 0.1


def test_options_for_features_are_refused_without_them(table):
    with pytest.raises(UserError, match="--macro and --trainings are for --features"):
        main(["--accel", str(table), "--macro", str(table)])
