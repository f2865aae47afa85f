"""What search.rank is made of: trainings alone, drawn networks, their cache, its processes."""

import dataclasses
import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from retrain.module import RetrainModule
from search.evaluation.trainings import Job, identity
from search.evaluation.workers import work_off
from search.rank.networks import draw, features, free_scores, ridge_scores
from supernet.arch_file import ArchFile, write_arch
from supernet.cost.counts import count
from supernet.data.digits import ClutteredDigits, Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.files.cache import Cache
from supernet.space.arch import Arch, BlockChoice
from supernet.training.config import read_training
from supernet.training.recipe import Recipe
from supernet.training.standalone import evaluate, train_alone
from tests.helpers.tiny import MACS, SPACE, TRAINING

ROOT = Path(__file__).parents[3]
QUICK = Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", bn_momentum=0.1)


def spec_of(seed=0):

    return SPACE.spec(SPACE.canonical(SPACE.sample(random.Random(seed))))


# One training


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_a_training_is_a_function_of_its_arguments():
    def weights(seed):
        torch.randn(3)  # an earlier draw changes nothing
        recipe = dataclasses.replace(QUICK, ema_decay=0.0)
        state = torch.get_rng_state()
        network = train_alone(spec_of(), recipe, ClutteredDigits(8).train_dataloader(), seed, 3)
        assert torch.equal(torch.get_rng_state(), state)
        return network.state_dict()

    assert same_weights(weights(0), weights(0))
    assert not same_weights(weights(0), weights(1))


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_training_alone_ends_where_lightnings_does(decay, tmp_path):
    """One recipe, two loops: the same weights from the same start on the same images."""
    recipe = dataclasses.replace(QUICK, ema_decay=decay, dropout=0.0)
    block = BlockChoice("mbconv3", 3, 0.25, "none", 1.0, 0)
    fields = dict.fromkeys(("predicted", "accuracy", "reward", "target"), 1.0)
    found = ArchFile(
        SPACE, Arch((block, block)), **fields, unit="macs", table="", device="", seed=0, step=0
    )
    write_arch(tmp_path / "arch.json", found)
    module = RetrainModule(str(tmp_path / "arch.json"), 10, 8, 1, recipe)
    torch.manual_seed(5)
    start = recipe.make_network(found.spec)
    module.network.load_state_dict(start.state_dict())
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        max_steps=12,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, RunData(Digits(8, batch_size=200), "retrain", seed=5))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    state = torch.load(tmp_path / "end.ckpt", weights_only=True)["state_dict"]
    loader = Digits(8, batch_size=200).train_dataloader()
    alone = train_alone(found.spec, recipe, loader, 5, 12).state_dict()
    for name, value in alone.items():
        torch.testing.assert_close(state[f"network.{name}"], value, msg=name)


def test_training_learns_and_evaluation_counts():
    data = Digits(8, batch_size=64)
    recipe = dataclasses.replace(QUICK, ema_decay=0.0, dropout=0.0)
    network = train_alone(spec_of(), recipe, data.train_dataloader(), 0, 60)
    found = evaluate(network, data.val_dataloader())
    images, labels = (torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True))
    with torch.no_grad():
        logits = network(images)
    assert found.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert found.loss == pytest.approx(loss, rel=1e-4)
    assert found.accuracy > 0.5


# The config


def test_a_config_gives_data_recipe_and_length(tmp_path):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "7"))
    training = read_training(tmp_path / "retrain.yaml")
    assert (training.recipe.lr, training.recipe.momentum) == (0.04, 0.9)
    assert training.make_data().copies == 1
    assert training.num_steps(5) == 7
    epochs = dataclasses.replace(training, max_steps=-1, max_epochs=3)
    assert epochs.num_steps(5) == 15
    assert dataclasses.replace(training, max_epochs=1).num_steps(5) == 5


def test_a_trainings_identity_changes_with_all_that_changes_its_result(tmp_path):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "7"))
    training, job = read_training(tmp_path / "retrain.yaml"), Job(spec_of(), 0, 7)
    harder = json.loads(json.dumps(training.data))
    harder["init_args"]["difficulty"]["noise"] = 0.9
    workers = json.loads(json.dumps(training.data))
    workers["init_args"]["num_workers"] = 3
    others = [
        identity(dataclasses.replace(training, data=harder), job),
        identity(dataclasses.replace(training, recipe=QUICK), job),
        *(
            identity(training, dataclasses.replace(job, **change))
            for change in ({"seed": 1}, {"num_steps": 8}, {"spec": spec_of(1)})
        ),
    ]
    own = identity(training, job)
    assert own not in others
    assert identity(dataclasses.replace(training, data=workers), job) == own


# The drawn networks


def test_bands_are_equally_wide_and_take_turns():
    drawing = draw(SPACE, MACS, 14, 3, seed=1)
    widths = np.diff(drawing.edges)
    assert widths == pytest.approx([widths[0]] * 3)
    assert [one.band for one in drawing.candidates] == [index % 3 for index in range(14)]
    for one in drawing.candidates:
        assert drawing.edges[one.band] <= one.cost <= drawing.edges[one.band + 1]
        assert one.cost == count(one.spec).macs
        assert SPACE.canonical(one.arch) == one.arch
    assert len({one.spec for one in drawing.candidates}) == 14


def test_more_networks_keep_the_first_and_another_seed_has_others():
    few, many = (draw(SPACE, MACS, num, 3, seed=1).candidates for num in (7, 12))
    assert many[:7] == few
    other = draw(SPACE, MACS, 7, 3, seed=2)
    assert not {one.arch for one in few} & {one.arch for one in other.candidates}
    assert other.edges == draw(SPACE, MACS, 7, 3, seed=1).edges


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
        draw(fixed, MACS, 8, 1, seed=0)


def test_free_scores_favour_the_larger_and_the_shortcuts():
    candidates = draw(SPACE, MACS, 6, 2, seed=0).candidates
    scores = free_scores(candidates, "macs")
    assert list(scores) == ["MACs", "params", "fewest layers without shortcut"]
    assert scores["MACs"].tolist() == [count(one.spec).macs for one in candidates]
    without = [sum(layer.skip == "none" for layer in one.spec.layers()) for one in candidates]
    assert scores["fewest layers without shortcut"].tolist() == [-number for number in without]
    assert "latency" in free_scores(candidates, "ms")


def test_features_are_one_choice_of_each_decision_and_the_macs():
    candidates = draw(SPACE, MACS, 6, 2, seed=0).candidates
    inputs = features(SPACE, candidates)
    assert inputs.shape == (6, sum(SPACE.decision_sizes) + 1)
    assert (inputs[:, :-1].sum(1) == len(SPACE.decision_sizes)).all()
    assert inputs[:, -1] == pytest.approx(np.log([count(one.spec).macs for one in candidates]))


def test_a_ridge_predicts_only_what_it_was_not_fitted_to():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4))
    runs = (inputs @ [1, -2, 0, 3])[:, None] + 0.1 * rng.normal(size=(60, 3))
    scores = ridge_scores(inputs, runs, trainings=20, repeats=5)
    assert (np.isnan(scores).sum(1) == 20).all()
    for row in scores:
        known = ~np.isnan(row)
        assert np.corrcoef(row[known], runs[known].mean(1))[0, 1] > 0.98
    noise = ridge_scores(inputs, rng.normal(size=(60, 3)), trainings=20, repeats=5)
    assert (
        abs(np.nanmean([np.corrcoef(r[~np.isnan(r)], runs[~np.isnan(r), 0])[0, 1] for r in noise]))
        < 0.5
    )


# The cache


def test_a_line_that_was_cut_short_costs_that_line_only(tmp_path):
    path = tmp_path / "deep" / "cache.jsonl"
    cache = Cache(path, ("name",))
    cache.append({"name": "a", "value": 1})
    path.write_bytes(path.read_bytes() + b'{"name": "b", "va')
    Cache(path, ("name",)).append({"name": "c", "value": 3})
    assert Cache(path, ("name",)).rows == {
        ("a",): {"name": "a", "value": 1},
        ("c",): {"name": "c", "value": 3},
    }


@pytest.mark.parametrize("content", ['{"other": 1}\n', "[1]\n", "3\n"])
def test_a_cache_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "cache.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"cache\.jsonl, line 1 has no name: name the cache"):
        Cache(tmp_path / "cache.jsonl", ("name",))


# Workers


class Squares:
    """Work for processes, which import it from this file."""

    def __call__(self, job, advance):
        advance()
        if job < 0:
            raise UserError(f"{job} is below 0")
        if job == 99:
            os._exit(3)
        return job**2


@pytest.fixture
def importable(monkeypatch):
    """Let processes find this file by name."""
    monkeypatch.setitem(sys.modules, "test_rank_parts", sys.modules[__name__])
    monkeypatch.setattr(Squares, "__module__", "test_rank_parts")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_processes_do_every_job_once(importable):
    assert sorted(work_off(Squares, range(7), processes=2)) == [i**2 for i in range(7)]


@pytest.mark.slow
def test_a_process_that_fails_or_dies_ends_the_command_in_one_line(importable):
    with pytest.raises(UserError, match="-1 is below 0"):
        list(work_off(Squares, [1, -1], processes=2))
    with pytest.raises(UserError, match=r"a process died .* run the same command again"):
        list(work_off(Squares, [1, 99], processes=2))
