"""search.truth: predictors and sets of counts that are fitted to a few trainings."""

import json
from dataclasses import replace

import numpy as np
import pytest

from search.truth.command import main
from search.truth.counts import SETS, inputs_of, taus
from search.truth.predictors import PREDICTORS, Ranked, ceiling, judged, one_hot
from search.truth.tables import read_accel


@pytest.fixture(scope="module")
def networks(data):
    return read_accel(data / "accel-nasbench/networks.csv")


def test_counts_that_hold_the_truth_rank_what_was_not_fitted(networks):
    inputs = inputs_of(networks.specs, SETS["today's"])
    assert inputs.std(axis=0) == pytest.approx(np.ones(inputs.shape[1]))
    assert taus(inputs, networks.accuracies, 45).mean() > 0.7
    rng = np.random.default_rng(0)
    assert abs(taus(inputs, rng.normal(size=(400, 1)), 45).mean()) < 0.1


def test_taus_within_fifths_are_those_of_networks_of_one_cost():
    macs = np.arange(50.0)
    by_cost = Ranked.of(macs, macs // 10, macs)
    assert by_cost.overall > 0.8
    assert by_cost.in_fifths == 0  # all truths of a fifth are equal
    inside = Ranked.of(macs % 10, macs % 10 - 5 * (macs // 10), macs)
    assert inside.in_fifths == pytest.approx(1)
    assert inside.overall < 0.5
    assert Ranked.of(np.zeros(50), macs, macs) == (0, 0)


def test_predictors_learn_what_adds_up_and_not_what_is_luck(networks):
    quick = {name: one._replace(repeats=2) for name, one in PREDICTORS.items()}
    assert one_hot(networks).shape == (400, sum(size for size in networks.sizes if size > 1))
    luck = replace(networks, accuracies=np.random.default_rng(0).normal(size=(400, 1)))
    for name in ("ridge on counts", "ridge on one-hot choices", "boosting on one-hot choices"):
        learned = np.mean([one.overall for one in judged(networks, quick[name], 100)])
        assert learned > 0.6
        assert abs(np.mean([one.overall for one in judged(luck, quick[name], 100)])) < 0.15
    few, many = (judged(networks, quick["parameters"], size) for size in (10, 200))
    assert np.mean([one.overall for one in few]) == pytest.approx(
        np.mean([one.overall for one in many]), abs=0.1
    )


def test_the_ceiling_is_that_of_trainings_against_each_other(networks):
    found = ceiling(networks.repeated)
    assert len(found) == 3
    assert 0.8 < min(one.overall for one in found) < 1
    same = replace(networks.repeated, accuracies=networks.repeated.accuracies[:, [0, 0, 0]])
    assert [one.overall for one in ceiling(same)] == pytest.approx([1, 1, 1])


def test_the_command_ranks_by_predictors_and_counts_once(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("search.truth.predictors.SIZES", (10, 20))
    monkeypatch.setattr("search.truth.counts.SIZES", (10,))
    monkeypatch.setattr("search.truth.counts.REPEATS", 3)
    monkeypatch.setattr(
        "search.truth.predictors.PREDICTORS",
        {name: one._replace(repeats=2) for name, one in PREDICTORS.items()},
    )
    monkeypatch.setattr("search.truth.counts.SETS", {"today's": SETS["today's"]})
    words = f"--data {data} --run {tmp_path} --predictors --counts --truth accel-nasbench".split()
    main(words)
    told = json.loads((tmp_path / "compare.json").read_text())["tables"]
    table = told["Accel-NASBench, tau within fifths of MACs"]
    assert [*table] == [*PREDICTORS, "another training"]
    assert [*table["MACs"]] == ["10 labels", "20 labels"]
    assert {"Accel-NASBench", "Accel-NASBench, of one cost"} < set(told)
    files = [tmp_path / f"outside_{name}.jsonl" for name in ("predictors", "counts")]
    before = [file.read_text() for file in files]
    assert [len(text.splitlines()) for text in before] == [13, 2]
    main(words)
    assert [file.read_text() for file in files] == before
