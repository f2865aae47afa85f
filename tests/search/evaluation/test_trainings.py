"""Networks trained alone: one training, its config, and what identifies it."""

import argparse
import dataclasses
import json
import random
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from retrain.module import RetrainModule
from search.evaluation.options import add_training_options, training_of
from search.evaluation.trainings import Job, TrainingRunner, identity
from supernet.arch_file import write_arch
from supernet.data.digits import ClutteredDigits, Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.space.arch import Arch, BlockChoice
from supernet.training.config import read_training
from supernet.training.recipe import Recipe
from supernet.training.standalone import evaluate, train_alone
from tests.helpers.archs import counted_arch
from tests.helpers.tiny import SPACE, TRAINING

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
    found = counted_arch(SPACE, Arch((block, block)))
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


def test_a_training_tells_val_and_test_apart(tmp_path):
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "6"))
    training = read_training(tmp_path / "retrain.yaml")
    row = TrainingRunner(training)(Job(spec_of(), 0, 6))
    data = training.make_data()
    network = train_alone(spec_of(), training.recipe, data.train_dataloader(), 0, 6)
    for split in ("val", "test"):
        found = evaluate(network, getattr(data, f"{split}_dataloader")())
        assert row[split] == found.accuracy
        assert row[f"{split}_loss"] == found.loss
    assert row["val"] != row["test"]


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


def test_a_training_on_image_files_is_of_their_content_wherever_they_lie(tmp_path):
    config = Path(__file__).parents[3] / "configs/cifar/retrain.yaml"
    parser = argparse.ArgumentParser()
    add_training_options(parser)

    def found(root):
        training = training_of(parser.parse_args(["-c", str(config), "--data.root", str(root)]))
        assert training.make_data().layout.root == root
        return identity(training, Job(spec_of(), 0, 7))

    for number in range(60):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 4 * number).save(file)
    own = found(tmp_path / "images")
    (tmp_path / "images").rename(tmp_path / "moved")
    assert found(tmp_path / "moved") == own
    training = training_of(
        parser.parse_args(["-c", str(config), "--data.root", str(tmp_path / "moved")])
    )
    Image.new("L", (8, 9), 7).save(tmp_path / "moved/a/more.png")
    with pytest.raises(UserError, match="does not hold the images that the command began with"):
        TrainingRunner(training)
    assert found(tmp_path / "moved") != own
