"""Trainings of an experiment that are runs of ``mnasnet retrain``."""

import dataclasses
import json
from argparse import Namespace

import pytest

from search.paper import retrained
from search.paper.experiment import TableRow
from search.paper.networks import Layers, given_network
from search.paper.retrained import Retraining, only_network, retrainings
from supernet.arch_file import read_arch
from supernet.space.published import published, published_spec
from tests.helpers.tiny import SPACE


@pytest.mark.parametrize("name", ["mnasnet_a1", "mnasnet_b1", "mnasnet_small"])
@pytest.mark.parametrize("layers", [Layers(), Layers(expand=3, kernel=5, se=0.0)], ids=str)
def test_a_network_is_the_only_one_of_a_space(name, layers):
    spec = given_network(name, layers, 0.5, None)
    found = only_network(spec)
    assert dataclasses.replace(found.spec, bn_eps=spec.bn_eps) == spec
    assert set(found.space.decision_sizes) == {1}


def test_published_networks_are_called_by_their_names_at_their_widths():
    row = TableRow("x", network="mobilenet_v2", width=0.35)
    assert published_spec(row.published) == published["mobilenet_v2"].scaled(0.35)
    assert TableRow("x", network="mnasnet_a1").published == "mnasnet_a1"
    assert TableRow("x", network="mnasnet_a1", layers=Layers(se=0.0)).published == ""
    assert TableRow("x", search=()).published == ""


def test_a_retraining_is_told_network_images_and_seed_and_is_tested(tmp_path):
    spec = SPACE.spec(next(SPACE.samples(0)))
    options = Namespace(processes=1, root=tmp_path / "images")
    jobs = retrainings("imagefolder/retrain", tmp_path / "cache.jsonl", options)
    run = jobs.do.commands(Retraining(spec, 101))
    fit, test = run.commands
    assert fit[:2] == ["retrain", "fit"]
    assert test[:2] == ["retrain", "test"]
    assert fit[fit.index("--seed_everything") + 1] == "101"
    assert fit[fit.index("--ckpt_path") + 1] == "auto"
    for words in (fit, test):
        assert read_arch(words[words.index("--model.arch") + 1]).spec.stages == spec.stages
        assert words[words.index("--data.root") + 1] == str(tmp_path / "images")
        assert "--data.resolution=8" in words
    named = jobs.do.commands(Retraining(spec, 101, "mnasnet_a1_050")).commands[0]
    assert named[named.index("--model.arch") + 1] == "mnasnet_a1_050"


def test_what_its_test_tells_is_kept(tmp_path):
    spec = SPACE.spec(next(SPACE.samples(0)))
    (tmp_path / "test.json").write_text(json.dumps({"accuracy": 0.75, "loss": 0.5}))
    row = retrained._result("imagefolder/retrain", Retraining(spec, 101), tmp_path)
    assert (row["test"], row["seed"], row["blocks"]) == (0.75, 101, spec.block_strings())
    other = retrained._identity("clutter/retrain", Retraining(spec, 101))
    assert row["config"] != other["config"]
    assert row["network"] == other["network"]
