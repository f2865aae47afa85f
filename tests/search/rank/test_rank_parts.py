"""What search.rank is made of: its networks, and scores that cost nothing or a few trainings."""

import dataclasses
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from search.rank.networks import uniform_group
from search.rank.scores import (
    choice_features,
    count_features,
    free_scores,
    ridge_scores,
    supernet_scores,
)
from search.surrogate.counts import counts_of
from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.space.published import published_spec
from supernet.training.standalone import Evaluation
from tests.helpers.tiny import MACS, SPACE

# The networks


def test_bands_are_equally_wide_and_take_turns():
    group = uniform_group(SPACE, MACS, 14, 3, seed=1)
    widths = np.diff(group.edges)
    assert widths == pytest.approx([widths[0]] * 3)
    assert [one.band for one in group.networks] == [index % 3 for index in range(14)]
    for one in group.networks:
        assert group.edges[one.band] <= one.cost <= group.edges[one.band + 1]
        assert one.cost == count(one.spec).macs
        assert SPACE.canonical(one.arch) == one.arch
    assert len({one.spec for one in group.networks}) == 14


def test_bands_leave_out_a_twentieth_of_the_networks_at_either_end():
    edges = uniform_group(SPACE, MACS, 4, 2, seed=1).edges
    drawn = islice(SPACE.samples(123), 3000)
    costs = np.array([MACS.predict(SPACE.spec(arch)) for arch in drawn])
    assert (costs < edges[0]).mean() == pytest.approx(0.05, abs=0.02)
    assert (costs > edges[-1]).mean() == pytest.approx(0.05, abs=0.02)


def test_more_networks_keep_the_first_and_another_seed_has_others():
    few, many = (uniform_group(SPACE, MACS, num, 3, seed=1).networks for num in (7, 12))
    assert many[:7] == few
    other = uniform_group(SPACE, MACS, 7, 3, seed=2)
    assert not {one.arch for one in few} & {one.arch for one in other.networks}
    assert other.edges == uniform_group(SPACE, MACS, 7, 3, seed=1).edges


def test_a_band_without_networks_is_named():
    fixed = dataclasses.replace(
        SPACE,
        ops=("conv",),
        kernels=(3,),
        ses=(0.0,),
        skips=("none",),
        filters=(1.0,),
        layers=(0, 1),
    )
    with pytest.raises(UserError, match=r"of 8 networks found between .* macs: ask for fewer"):
        uniform_group(fixed, MACS, 8, 1, seed=0)


def test_free_scores_favour_the_larger_and_the_shortcuts():
    networks = uniform_group(SPACE, MACS, 6, 2, seed=0).networks
    scores = free_scores(networks, "macs")
    assert list(scores) == ["MACs", "params", "fewest layers", "fewest layers without shortcut"]
    assert scores["MACs"].tolist() == [count(one.spec).macs for one in networks]
    depths = [len(list(one.spec.layers())) for one in networks]
    assert scores["fewest layers"].tolist() == [-depth for depth in depths]
    without = [sum(layer.skip == "none" for layer in one.spec.layers()) for one in networks]
    assert scores["fewest layers without shortcut"].tolist() == [-number for number in without]
    assert "latency" in free_scores(networks, "ms")


def test_features_are_one_choice_of_each_decision_and_the_macs():
    networks = uniform_group(SPACE, MACS, 6, 2, seed=0).networks
    inputs = choice_features(SPACE, networks)
    assert inputs.shape == (6, sum(SPACE.decision_sizes) + 1)
    assert (inputs[:, :-1].sum(1) == len(SPACE.decision_sizes)).all()
    assert inputs[:, -1] == pytest.approx(np.log([count(one.spec).macs for one in networks]))


def test_counts_of_mnasnet_a1_are_those_of_figure_7():
    counts = counts_of(published_spec("mnasnet_a1"))
    widths = [16, 24, 40, 80, 112, 160, 320]
    assert counts.pop("log width of a block") == pytest.approx(np.log(widths).sum())
    assert counts.pop("log parameters of a block") == pytest.approx(79.0782, abs=1e-4)
    assert counts.pop("log width of the last block") == pytest.approx(np.log(320))
    assert counts == {
        "layers": 16,
        "sepconv": 1,
        "mbconv6": 12,
        "mbconv3": 3,
        "layers with squeeze-and-excitation": 8,
        "shortcut identity": 9,
        "shortcut none": 7,
        "kernel 3": 10,
        "kernel 5": 6,
        "parameters": 3_887_038,
    }


def test_counts_are_a_row_for_each_network_of_what_the_surrogate_weighs():
    networks = uniform_group(SPACE, MACS, 6, 2, seed=0).networks
    inputs = count_features(networks)
    counted = [counts_of(one.spec) for one in networks]
    names = sorted({name for one in counted for name in one})
    assert inputs.shape == (6, len(names))
    expected = [[one.get(name, 0.0) for one in counted] for name in names]
    assert inputs.T.tolist() == expected


def test_scores_of_a_supernet_are_larger_for_better_networks(tmp_path):
    networks = uniform_group(SPACE, MACS, 4, 2, seed=0).networks
    places = {one.arch: place for place, one in enumerate(networks)}
    supernet = SimpleNamespace(
        identity={"supernet": "a", "data": "b", "images": 3},
        checkpoint="last.ckpt",
        evaluate=lambda arch, steps: Evaluation(
            accuracy=0.1 * places[arch],
            loss=2.0 - places[arch],
            probability=places[arch] + 0.01 * steps,
            soft_accuracy=9.0,
        ),
    )
    scores = supernet_scores([supernet], networks, tmp_path / "scores.jsonl", [5])
    assert list(scores) == ["supernet", "supernet, by loss", "supernet, tuned for 5"]
    assert scores["supernet"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert scores["supernet, by loss"] == pytest.approx([-2.0, -1.0, 0.0, 1.0])
    assert scores["supernet, tuned for 5"] == pytest.approx([0.05, 1.05, 2.05, 3.05])


def test_a_ridge_learns_nothing_of_what_it_predicts():
    """Features and trainings that have nothing to do with each other, nearly as many of both."""
    rng = np.random.default_rng(0)
    inputs, runs = rng.normal(size=(60, 25)), rng.normal(size=(60, 3))
    found = [
        np.corrcoef(row[~np.isnan(row)], runs[~np.isnan(row)].mean(1))[0, 1]
        for row in ridge_scores(inputs, runs, num_fitted=20, repeats=20)
    ]
    assert abs(np.mean(found)) < 0.2


def test_a_ridge_predicts_only_what_it_was_not_fitted_to():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4))
    runs = (inputs @ [1, -2, 0, 3])[:, None] + 0.1 * rng.normal(size=(60, 3))
    scores = ridge_scores(inputs, runs, num_fitted=20, repeats=5)
    assert (np.isnan(scores).sum(1) == 20).all()
    for row in scores:
        known = ~np.isnan(row)
        assert np.corrcoef(row[known], runs[known].mean(1))[0, 1] > 0.98
    noise = ridge_scores(inputs, rng.normal(size=(60, 3)), num_fitted=20, repeats=5)
    assert (
        abs(np.nanmean([np.corrcoef(r[~np.isnan(r)], runs[~np.isnan(r), 0])[0, 1] for r in noise]))
        < 0.5
    )
