"""Retraining: the recipe against closed forms, and runs that stop, continue and are tested."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from pytorch_lightning.callbacks import Checkpoint

from retrain.__main__ import main
from retrain.cli import run_callbacks
from retrain.module import RetrainModule
from retrain.recipe_module import images_per_step
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.data.image_folder import ImageFolder
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.report.predictions import read_predictions
from supernet.run.callbacks import SeedEachStep
from supernet.run.checkpoints import LastCheckpoint
from supernet.training.recipe import PAPER, Recipe
from supernet.training.weight_average import WeightEma
from tests.helpers.documented import undocumented
from tests.helpers.interrupted import Kill, assert_same_weights, weights
from tests.helpers.tiny import write_tiny_arch

ROOT = Path(__file__).parents[2]

QUICK = Recipe(optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, bn_momentum=0.1)


@pytest.fixture
def arch(tmp_path):
    return write_tiny_arch(tmp_path / "arch.json")


def module_for(arch, recipe=QUICK):
    return RetrainModule(arch, num_classes=10, resolution=8, stem_stride=1, recipe=recipe)


def trainer_for(folder, *callbacks, max_epochs=2, **settings):
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_epochs=max_epochs,
        limit_train_batches=4,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[*callbacks, SeedEachStep(0)],
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),
        **settings,
    )


def digits(batch_size=16):
    return RunData(Digits(resolution=8, batch_size=batch_size), role="retrain", seed=0)


def test_images_of_a_step_count_all_processes_and_accumulated_batches(arch, tmp_path):
    module = module_for(arch)
    trainer = trainer_for(tmp_path, max_epochs=1, accumulate_grad_batches=2)
    trainer.fit(module, datamodule=digits(batch_size=32))
    assert images_per_step(trainer) == 64
    assert trainer.global_step == 2
    assert module.steps_done == 4
    plain = trainer_for(tmp_path, max_epochs=1)
    plain.fit(module_for(arch), datamodule=Digits(resolution=8, batch_size=32))
    assert images_per_step(plain) == 32


def test_a_batch_of_one_image_is_refused(arch, tmp_path):
    with pytest.raises(UserError, match=r"set data.init_args.batch_size to at least 2"):
        trainer_for(tmp_path).fit(module_for(arch), digits(batch_size=1))


def test_norms_and_biases_have_no_weight_decay(arch):
    network = module_for(arch).network
    for group in PAPER.make_optimizer(network, 256).param_groups:
        assert {p.ndim == 1 for p in group["params"]} == {group["weight_decay"] == 0}
        assert (group["alpha"], group["momentum"], group["eps"]) == (0.9, 0.9, 1e-3)


def test_convolutions_see_and_hold_channels_last(arch):
    module, seen = module_for(arch), []
    module.network.blocks[0][0].conv_dw.register_forward_hook(
        lambda _, inputs, output: seen.extend((inputs[0], output))
    )
    module(torch.zeros(2, 3, 8, 8))
    stem = module.network.conv_stem.weight
    for tensor in (stem, *seen):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert not stem.is_contiguous()


def test_the_data_decide_resolution_and_classes(arch):
    module = RetrainModule(arch, num_classes=3, resolution=16, stem_stride=2, recipe=QUICK)
    assert (module.spec.classes, module.spec.resolution, module.spec.stem_stride) == (3, 16, 2)
    line = module.first_line()
    assert "at 16 px, 3 classes, stem stride 2" in line
    assert "itself has resolution 8, classes 10, stem_stride 1" in line
    own = module_for(arch)
    assert "itself" not in own.first_line()


@pytest.mark.parametrize("kill_at", [3, 4, 6])
def test_a_killed_run_continues_to_the_same_bits(arch, tmp_path, kill_at):
    recipe = dataclasses.replace(QUICK, dropout=0.3)
    whole = module_for(arch, recipe)
    initial = weights(whole)
    trainer_for(tmp_path / "whole", *run_callbacks(tmp_path / "whole")).fit(whole, digits())

    folder = tmp_path / "killed"
    first = module_for(arch, recipe)
    first.load_state_dict(initial)
    callbacks = [*run_callbacks(folder), LastCheckpoint(folder, interval_s=0.0)]
    with pytest.raises(RuntimeError, match="killed"):
        trainer_for(folder, *callbacks, Kill(kill_at)).fit(first, digits())

    second = module_for(arch, recipe)
    last = folder / "checkpoints" / "last.ckpt"
    callbacks = [*run_callbacks(folder), LastCheckpoint(folder)]
    trainer_for(folder, *callbacks).fit(second, digits(), ckpt_path=last)
    assert second.steps_done == whole.steps_done == 8
    assert_same_weights(weights(second), weights(whole))
    best = [torch.load(f / "checkpoints" / "best.ckpt") for f in (folder, tmp_path / "whole")]
    assert_same_weights(best[0]["current_model_state"], best[1]["current_model_state"])
    assert_same_weights(best[0]["state_dict"], best[1]["state_dict"])


def test_a_run_continues_only_with_its_own_network_and_recipe(arch, tmp_path):
    folder = tmp_path / "run"
    trainer_for(folder, LastCheckpoint(folder), max_epochs=1).fit(module_for(arch), digits())
    last = folder / "checkpoints" / "last.ckpt"
    other = module_for(write_tiny_arch(tmp_path / "other.json", op="sepconv"))
    with pytest.raises(UserError, match="holds another network"):
        trainer_for(folder).fit(other, digits(), ckpt_path=last)
    changed = module_for(arch, dataclasses.replace(QUICK, lr=0.1))
    with pytest.raises(UserError, match=r"recipe.lr is 0.1, but the run to continue has 0.04"):
        trainer_for(folder).fit(changed, digits(), ckpt_path=last)


def test_a_run_that_is_continued_with_more_epochs_has_the_longer_schedule(arch, tmp_path):
    folder, lrs = tmp_path / "run", []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            lrs.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer_for(folder, LastCheckpoint(folder), max_epochs=1).fit(module_for(arch), digits())
    last = folder / "checkpoints" / "last.ckpt"
    trainer_for(folder, Watch()).fit(module_for(arch), digits(), ckpt_path=last)
    peak = 0.04 * 16 / 256
    assert lrs == pytest.approx([peak * 0.5 * (1 + math.cos(math.pi * s / 8)) for s in range(4, 8)])


def test_the_best_averaged_weights_are_tested_and_reported(arch, tmp_path):
    folder, module = tmp_path / "run", module_for(arch)
    trainer = trainer_for(folder, *run_callbacks(folder), max_epochs=4)
    trainer.fit(module, digits())
    path = folder / "checkpoints" / "best.ckpt"
    best = torch.load(path)
    trained = best["current_model_state"]["network.classifier.weight"]
    average = best["state_dict"]["network.classifier.weight"]
    assert not torch.equal(trained, average)

    # In the process that trained, and in a fresh one, it must be the average.
    fresh = module_for(arch)
    tester = trainer_for(folder, *run_callbacks(folder))
    tester.test(fresh, digits(), ckpt_path=path, verbose=False)
    report = json.loads((folder / "test.json").read_text())
    trainer.test(module, digits(), ckpt_path=path, verbose=False)
    assert json.loads((folder / "test.json").read_text()) == report
    assert torch.equal(module.network.classifier.weight, average)

    network = Network(module.spec).eval()
    network.load_state_dict(
        {name[8:]: value for name, value in best["state_dict"].items() if name[:8] == "network."}
    )
    images, labels = zip(*Digits(resolution=8, batch_size=999).test_dataloader(), strict=True)
    logits = network(torch.cat(images))
    assert report["images"] == len(logits) == 359
    assert report["accuracy"] == pytest.approx((logits.argmax(1) == labels[0]).float().mean())
    loss = torch.nn.functional.cross_entropy(logits, labels[0])
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert report["checkpoint"] == str(path)
    assert undocumented(folder / "test.json") | undocumented(folder / "predictions.csv") == set()
    told = read_predictions(folder / "predictions.csv")
    assert [row.prediction for row in told] == logits.argmax(1).tolist()
    assert [row.label for row in told] == labels[0].tolist()
    assert report["classes"] == list(map(str, range(10)))


def test_a_training_at_chance_raises_an_alarm_that_its_files_carry(arch, tmp_path, capsys):
    """Weights that do not move: the network gives every image the same class, or nearly."""
    module = module_for(arch, dataclasses.replace(QUICK, lr=1e-9))
    trainer_for(tmp_path, *run_callbacks(tmp_path), max_epochs=1).fit(module, digits())
    best = tmp_path / "checkpoints" / "best.ckpt"
    figures = torch.load(best, weights_only=True)["validation"]
    labels = torch.cat([batch for _, batch in digits().val_batches()])
    assert figures["images"] == len(labels) == 179
    share = labels.bincount().max() / len(labels)
    assert figures["majority_share"] == pytest.approx(float(share))
    assert f"alarm: not learned: the accuracy is {figures['accuracy']:.1%} of 179 images" in (
        capsys.readouterr().out
    )
    tester = trainer_for(tmp_path, *run_callbacks(tmp_path))
    tester.test(module_for(arch), digits(), ckpt_path=best, verbose=False)
    assert json.loads((tmp_path / "test.json").read_text())["alarm"] == "not learned"
    assert "alarm: not learned" in capsys.readouterr().out


def test_training_in_bfloat16_keeps_float32_weights(arch, tmp_path):
    module = module_for(arch)
    before = weights(module)
    trainer_for(tmp_path, max_epochs=1, precision="bf16-mixed").fit(module, digits())
    for name, value in weights(module).items():
        assert value.dtype in (torch.float32, torch.int64)
        assert value.isfinite().all()
        assert "classifier" not in name or not torch.equal(value, before[name])


@pytest.mark.parametrize("name", ["digits", "imagefolder"])
def test_the_recipe_of_each_config_trains(name, arch, tmp_path):
    config = yaml.safe_load((ROOT / "configs" / name / "retrain.yaml").read_text())
    recipe = Recipe(**config["model"]["recipe"])
    module = module_for(arch, recipe)
    before = weights(module)
    data = digits() if name == "digits" else RunData(image_folder(tmp_path), "retrain", seed=0)
    # The paper's learning rate is 0 in the first step.
    trainer_for(tmp_path, max_epochs=1, max_steps=2).fit(module, data)
    assert module.steps_done == 2
    changed = {
        name for name, value in weights(module).items() if not torch.equal(value, before[name])
    }
    assert {"network.conv_stem.weight", "network.classifier.bias"} <= changed
    if name == "imagefolder":
        assert recipe == PAPER


@pytest.mark.parametrize("name", ["digits", "imagefolder"])
def test_each_config_runs_through_the_command_line(name, arch, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["retrain"])
    folder = tmp_path / "run"
    options = [
        f"--config={ROOT / 'configs' / name / 'retrain.yaml'}",
        f"--run={folder}",
        f"--model.arch={arch}",
        "--data.resolution=8",
        "--data.batch_size=16",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--wandb.mode=disabled",
    ]
    if name == "imagefolder":
        image_folder(tmp_path)
        options += [f"--data.root={tmp_path / 'images'}", "--data.num_workers=0"]
    run_command(lambda: main(["fit", *options]))
    run_command(lambda: main(["test", *options]))
    report = json.loads((folder / "test.json").read_text())
    assert report["arch"] == arch
    assert report["checkpoint"] == str(folder / "checkpoints" / "best.ckpt")


def test_testing_what_was_never_trained_is_one_line_and_status_2(
    arch, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["retrain"])
    (tmp_path / "run").mkdir()
    options = [f"--run={tmp_path / 'run'}", f"--model.arch={arch}", "--data=Digits"]
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main(["test", *options, "--wandb.mode=disabled"]))
    assert leaving.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no checkpoint at")


def image_folder(folder):
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / "images" / str(label)).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(256, size=(10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / str(label) / f"{index}.png")
    return ImageFolder(str(folder / "images"), resolution=8, batch_size=16, num_workers=0)


@pytest.mark.slow
def test_two_processes_train_one_network_and_count_every_test_image(arch, tmp_path):
    folder = tmp_path / "run"
    settings = {
        "--run": folder,
        "--model.arch": arch,
        "--data": "Digits",
        "--data.resolution": 8,
        "--data.batch_size": 16,
        "--trainer.accelerator": "cpu",
        "--trainer.devices": 2,
        "--trainer.strategy": "ddp",
        "--trainer.max_epochs": 1,
        "--trainer.limit_train_batches": 4,
        "--trainer.log_every_n_steps": 1,
        "--wandb.mode": "disabled",
    }
    options = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "retrain"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for verb in ("fit", "test"):
        done = subprocess.run(
            [*command, verb, *options],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    test = json.loads((folder / "test.json").read_text())
    assert test["images"] == 359
    told = read_predictions(folder / "predictions.csv")
    assert [row.number for row in told] == [*range(359)]
    assert sum(row.label == row.prediction for row in told) == round(359 * test["accuracy"])
    assert done.stdout.splitlines()[-1] == f"report: {folder / 'report.html'}"
    rows = (folder / "metrics.csv").read_text().splitlines()
    lrs = [row.split(",")[rows[0].split(",").index("lr")] for row in rows[1:]]
    # Warm-up takes round(4 * 5 / 350) = 0 steps: the first has the peak for 2 x 16 images.
    assert float(next(lr for lr in lrs if lr)) == pytest.approx(0.016 * 32 / 256)


def test_the_average_lies_where_lightning_trains(arch, tmp_path):
    trainer, module = trainer_for(tmp_path), module_for(arch)
    trainer.strategy.connect(module)
    module.trainer = trainer
    (callback,) = module.configure_callbacks()
    assert isinstance(callback, WeightEma)
    module.recipe = dataclasses.replace(QUICK, ema_decay=0.0)
    assert module.configure_callbacks() == []
