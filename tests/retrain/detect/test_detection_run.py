"""Training detectors: the command, what it measures, runs that continue, and overfitting."""

import csv
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from retrain.cli import run_callbacks
from retrain.detect.__main__ import main
from retrain.detect.boxes_figure import ACCENT, TRUE, ShownImage, draw_boxes
from retrain.detect.digit_boxes import DigitBoxes, as_lists
from retrain.detect.module import DETECTION, DetectionModule
from retrain.detect.ssdlite import SSDLite
from retrain.module import RetrainModule
from retrain.summary import summarise
from supernet.command.process import run_command
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.run.checkpoints import LastCheckpoint
from supernet.training.recipe import Recipe
from tests.helpers.detectors import (
    QUICK,
    SMALL,
    boxes,
    module_for,
    trainer_for,
    write_searched_arch,
)
from tests.helpers.documented import undocumented, unnamed
from tests.helpers.interrupted import Kill, assert_same_weights, weights

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "configs" / "digits" / "detect.yaml"


@pytest.fixture
def arch(tmp_path):
    return write_searched_arch(tmp_path / "arch.json", width=0.1, head=32)


def test_figures_are_logged_as_numbers_as_gpus_exchange_no_tensors_of_the_host(arch, monkeypatch):
    module, logged = module_for(arch), []
    figures = {"map": torch.tensor(0.5), "map_50": torch.tensor(0.75)}
    monkeypatch.setattr(module.average_precision, "compute", lambda: figures)
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.append((name, value)))
    module.on_validation_epoch_end()
    assert logged == [("val/map", 0.5), ("val/map_50", 0.75)]
    assert {type(value) for _, value in logged} == {float}


def test_the_config_trains_and_is_tested_through_the_command(arch, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["detect"])
    folder = tmp_path / "run"
    options = [
        f"--config={CONFIG}",
        f"--run={folder}",
        f"--model.arch={arch}",
        "--data.train_images=32",
        "--data.val_images=5",
        "--data.test_images=6",
        "--trainer.max_epochs=2",
        "--trainer.log_every_n_steps=1",
        "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
    ]
    run_command(lambda: main(["fit", *options]))
    shown = capsys.readouterr().out
    assert f"training {arch} with SSDLite on 4 maps from scratch" in shown
    assert "retrain.detect 4/4" in shown
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    figures = {"train/loss", "train/class_loss", "train/box_loss", "val/map", "val/map_50", "lr"}
    assert figures <= set(rows[0])
    best = torch.load(folder / "checkpoints" / "best.ckpt")["callbacks"]
    (score,) = [state["best_model_score"] for state in best.values() if "best_model_score" in state]
    assert score == pytest.approx(max(float(row["val/map"] or 0) for row in rows))
    run_command(lambda: main(["test", *options]))
    report = json.loads((folder / "test.json").read_text())
    assert report["checkpoint"] == str(folder / "checkpoints" / "best.ckpt")
    assert (report["arch"], report["images"]) == (arch, 6)
    assert unnamed(folder) | undocumented(folder / "test.json") == set()
    with Image.open(folder / "figures" / "boxes.png") as page:
        assert page.size[0] > 1000
    assert f"boxes of 6 test images: {folder / 'figures' / 'boxes.png'}" in capsys.readouterr().out
    assert all(0 <= report[name] <= 1 for name in ("map", "map_50", "map_75"))
    with pytest.raises(UserError, match=r"run holds a detector: .*test.json"):
        summarise(folder)


def test_bad_settings_are_one_line_and_status_2(arch, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["detect"])
    options = [f"--run={tmp_path / 'run'}", f"--model.arch={arch}", "--data=DigitBoxes"]
    recipe = ["--model.recipe.dropout=0", "--model.recipe.label_smoothing=0"]
    for extra, line in (
        (["--model.ssdlite.taps=[16,64]"], "error: no features of stride 64: with stem stride 2"),
        (["--model.ssdlite.taps=[32,16]"], "error: ssdlite.taps is [32, 16], it must be ascending"),
        (["--model.recipe.dropout=0.2"], "error: recipe.dropout is 0.2, but a detector has no"),
        (["--model.init=imagenet"], "error: init is 'imagenet', allowed are scratch, timm,"),
    ):
        line_of_options = ["fit", *options, *recipe, *extra, "--wandb.mode=disabled"]
        with pytest.raises(SystemExit) as leaving:
            run_command(lambda given=line_of_options: main(given))
        assert leaving.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(line)


@pytest.mark.parametrize("kill_at", [3, 4])
def test_a_killed_run_continues_to_the_same_bits(arch, tmp_path, kill_at):
    whole = module_for(arch)
    initial = weights(whole)
    trainer_for(tmp_path / "whole", *run_callbacks(tmp_path / "whole", "map")).fit(whole, boxes())

    folder = tmp_path / "killed"
    first = module_for(arch)
    first.load_state_dict(initial)
    callbacks = [*run_callbacks(folder, "map"), LastCheckpoint(folder, interval_s=0.0)]
    with pytest.raises(RuntimeError, match="killed"):
        trainer_for(folder, *callbacks, Kill(kill_at)).fit(first, boxes())

    second = module_for(arch)
    last = folder / "checkpoints" / "last.ckpt"
    callbacks = [*run_callbacks(folder, "map"), LastCheckpoint(folder)]
    trainer_for(folder, *callbacks).fit(second, boxes(), ckpt_path=last)
    assert second.steps_done == whole.steps_done == 8
    assert_same_weights(weights(second), weights(whole))
    assert not torch.equal(
        weights(whole)["network.backbone.features.conv_stem.weight"],
        initial["network.backbone.features.conv_stem.weight"],
    )


def test_a_run_continues_only_as_the_detector_that_it_is(arch, tmp_path):
    folder = tmp_path / "run"
    trainer_for(folder, LastCheckpoint(folder), max_epochs=1).fit(module_for(arch), boxes())
    last = folder / "checkpoints" / "last.ckpt"
    other = module_for(arch, dataclasses.replace(SMALL, extras=(8,)))
    with pytest.raises(UserError, match=r"ssdlite.extras is \(8,\), but the run to continue has"):
        trainer_for(folder).fit(other, boxes(), ckpt_path=last)
    other = module_for(arch, recipe=dataclasses.replace(QUICK, lr=0.1))
    with pytest.raises(UserError, match=r"recipe.lr is 0.1, but the run to continue has 0.08"):
        trainer_for(folder).fit(other, boxes(), ckpt_path=last)
    classifier = RetrainModule(arch, 10, 64, 2)
    retrained = tmp_path / "retrained"
    digits = RunData(Digits(resolution=16, batch_size=16), role="retrain", seed=0)
    limits = {"limit_train_batches": 1, "limit_val_batches": 0}
    trainer_for(retrained, LastCheckpoint(retrained), max_epochs=1, **limits).fit(
        classifier, digits
    )
    path = retrained / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"not that of a detector: .* --model.init"):
        trainer_for(folder).fit(module_for(arch), boxes(), ckpt_path=path)


class Oracle(nn.Module):
    """A detector that finds every box of its images, shifted."""

    def __init__(self, data, shift):
        super().__init__()
        samples = [data[index] for index in range(len(data))]
        self.known = {image.numpy().tobytes(): target for image, target in samples}
        self.shift = shift

    def forward(self, images):
        found = [self.known[image.numpy().tobytes()] for image in images]
        return [
            {
                "boxes": target["boxes"] + torch.tensor([self.shift, 0.0, self.shift, 0.0]),
                "labels": target["labels"],
                "scores": torch.ones(len(target["labels"])),
            }
            for target in found
        ]


@pytest.mark.parametrize(
    ("shift", "figures"), [(0.0, (1, 1, 1)), (3.0, (None, 1, None)), (60.0, (0, 0, 0))]
)
def test_average_precision_is_cocos(arch, tmp_path, shift, figures):
    data, module = boxes(resolution=128, val_images=20, max_digits=1), module_for(arch)
    module.network = Oracle(data.inner.val_dataloader().dataset, shift)
    (found,) = trainer_for(tmp_path).validate(module, data, verbose=False)
    for name, value in zip(("map", "map_50", "map_75"), figures, strict=True):
        assert value is None or found[f"val/{name}"] == pytest.approx(value)
    assert shift != 3 or 0.1 < found["val/map"] < found["val/map_50"]
    # Nothing of it stays in what is measured next.
    module.network.shift = 60.0
    (missed,) = trainer_for(tmp_path).validate(module, data, verbose=False)
    assert missed["val/map_50"] == 0


def test_without_pycocotools_one_line_says_what_to_install(arch, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pycocotools" else find(name)
    )
    with pytest.raises(UserError, match=r"^detection needs `pip install mnasnet-search.detection"):
        module_for(arch)


def test_true_boxes_and_found_ones_of_some_score_are_drawn_where_they_are():
    true = {"boxes": torch.tensor([[2.0, 3.0, 12.0, 23.0]]), "labels": torch.tensor([2])}
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 3.0, 4.0], [9.0, 10.0, 20.0, 21.0], [0.0, 0, 5, 5]]),
        "labels": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.9, 0.5, 0.1]),
    }
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    empty = ShownImage(torch.rand(32, 32, 3), nothing, {**nothing, "scores": torch.zeros(0)})
    figure = draw_boxes([ShownImage(torch.rand(32, 32, 3), true, found), empty], ("ant", "a_$b$"))
    first, second = figure.axes
    drawn = [patch for patch in first.patches if isinstance(patch, Rectangle)]
    assert [
        (to_hex(one.get_edgecolor()).upper(), one.get_bbox().extents.tolist()) for one in drawn
    ] == [(TRUE, [2, 3, 12, 23]), (ACCENT, [1, 2, 3, 4]), (ACCENT, [9, 10, 20, 21])]
    assert [text.get_text() for text in first.texts] == ["a_$b$", "ant 0.90", "a_$b$ 0.50"]
    assert not second.patches
    figure.canvas.draw()


class FromZero(DigitBoxes):
    """Numbers its classes from 0, as classification does."""

    def _images(self, part):
        images = super()._images(part)
        images.digits.targets = [target - 1 for target in images.digits.targets]
        return images


def test_labels_from_zero_are_refused_in_training_and_validation(arch, tmp_path):
    data = FromZero(resolution=64, batch_size=16, train_images=16, val_images=32)
    run = RunData(data, role="retrain", seed=0)
    with pytest.raises(UserError, match="a box has label 0"):
        trainer_for(tmp_path, limit_val_batches=0).fit(module_for(arch), run)
    with pytest.raises(UserError, match="a box has label 0"):
        trainer_for(tmp_path).validate(module_for(arch), run)


def test_a_batch_of_one_image_is_refused(arch, tmp_path):
    with pytest.raises(UserError, match=r"a batch has 1 image, .* at least 2"):
        trainer_for(tmp_path).fit(module_for(arch), boxes(batch_size=1))


def test_training_in_bfloat16_keeps_float32_weights(arch, tmp_path):
    module = module_for(arch)
    trainer_for(tmp_path, max_epochs=1, precision="bf16-mixed").fit(module, boxes())
    for value in module.state_dict().values():
        assert value.dtype in (torch.float32, torch.int64)
        assert value.isfinite().all()


def test_the_default_recipe_is_the_papers_without_what_acts_on_a_classifier():
    assert dataclasses.replace(DETECTION, dropout=0.2, label_smoothing=0.1) == Recipe()


class SeenAgain(DigitBoxes):
    """Validates on the images that it trains on."""

    def val_dataloader(self):
        return DataLoader(self._images("train"), self.batch_size, collate_fn=as_lists)


@pytest.mark.slow
def test_a_detector_overfits_eight_images_in_400_steps(tmp_path):
    torch.manual_seed(0)
    arch = write_searched_arch(tmp_path / "arch.json", width=0.35)
    data = SeenAgain(resolution=128, batch_size=8, train_images=8)
    module = DetectionModule(arch, 10, 128, 2, SSDLite((8, 16, 32), (128,), (0.15, 0.6)), QUICK)
    trainer = trainer_for(tmp_path, max_epochs=250, check_val_every_n_epoch=250)
    trainer.fit(module, RunData(data, role="retrain", seed=0))
    assert trainer.global_step == 250
    assert trainer.callback_metrics["val/map_50"] > 0.9


@pytest.mark.slow
def test_two_processes_measure_what_one_does(arch, tmp_path):
    folder = tmp_path / "run"
    settings = {
        "-c": CONFIG,
        "--run": folder,
        "--model.arch": arch,
        "--data.train_images": 32,
        "--data.batch_size": 8,
        "--data.val_images": 9,
        "--data.test_images": 21,
        "--trainer.accelerator": "cpu",
        "--trainer.devices": 2,
        "--trainer.strategy": "ddp",
        "--trainer.max_epochs": 2,
        "--wandb.mode": "disabled",
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(verb, **changes):
        words = [str(w) for pair in ({**settings, **changes}).items() for w in pair]
        line = [sys.executable, "-m", "retrain.detect", verb, *words]
        done = subprocess.run(
            line,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    run("fit")
    run("test")
    both = json.loads((folder / "test.json").read_text())
    run("test", **{"--trainer.devices": 1, "--trainer.strategy": "auto"})
    one = json.loads((folder / "test.json").read_text())
    assert both["images"] == one["images"] == 21
    assert one["map_50"] == pytest.approx(both["map_50"], rel=1e-4)
    assert one["map"] > 0
