"""Every shipped config is one that its command takes, and those for image folders run."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from retrain.__main__ import main as retrain
from retrain.detect.__main__ import main as detect
from search.__main__ import main as search
from supernet.arch_file import read_arch
from supernet.command.process import run_command
from supernet.run.cli import CLI

CONFIGS = Path(__file__).parents[2] / "configs"
SPACES = sorted((CONFIGS / "spaces").glob("*.yaml"))
SWEEPS = sorted((CONFIGS / "sweeps").glob("*.yaml"))
PAPER = sorted((CONFIGS / "paper").glob("*.yaml"))
FILES = sorted({*CONFIGS.rglob("*.yaml")} - {*SPACES, *SWEEPS, *PAPER})


def command_of(config):
    commands = {
        "search": search,
        "retrain": lambda: run_command(retrain),
        "detect": lambda: run_command(detect),
    }
    return commands[config.stem]


@pytest.fixture
def image_root(tmp_path):
    """Fourteen images of noise in each of three classes."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog", "owl"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for number in range(14):
            pixels = rng.integers(256, size=(20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_digits_photos_and_large_folders_have_both_configs():
    names = [str(path.relative_to(CONFIGS)) for path in FILES]
    folders = ("digits", "imagefolder", "photos", "cifar")
    assert set(names) >= {f"{f}/{c}.yaml" for f in folders for c in ("search", "retrain")}


@pytest.mark.parametrize("config", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_is_taken_also_for_several_machines(config, monkeypatch):
    class Parsed(Exception):
        pass

    def stop(cli):
        raise Parsed(cli.settings)

    options = ["--run=runs/x", "--trainer.num_nodes=2"]
    if config.parent.name in ("imagefolder", "photos", "cifar"):
        options.append("--data.root=images")
    if config.stem in ("retrain", "detect"):
        options.append("--model.arch=arch.json")
    monkeypatch.setattr(CLI, "before_instantiate_classes", stop)
    monkeypatch.setattr(sys, "argv", [config.stem, "fit", "-c", str(config), *options])
    with pytest.raises(Parsed) as found:
        command_of(config)()
    settings, written = found.value.args[0], yaml.safe_load(config.read_text())
    assert settings.trainer.num_nodes == 2
    assert settings.data.class_path.endswith(written["data"]["class_path"])
    for name, value in written["trainer"].items():
        assert settings.trainer[name] == value


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_every_space_replaces_that_of_a_search(space, monkeypatch):
    class Parsed(Exception):
        pass

    def stop(cli):
        raise Parsed(cli.settings)

    config = CONFIGS / "digits" / "search.yaml"
    monkeypatch.setattr(CLI, "before_instantiate_classes", stop)
    monkeypatch.setattr(
        sys, "argv", ["search", "fit", "-c", str(config), "--model.space", str(space)]
    )
    with pytest.raises(Parsed) as found:
        search()
    told, written = found.value.args[0].model.space, yaml.safe_load(space.read_text())
    for name, value in written.items():
        assert (list(told[name]) if isinstance(value, list) else told[name]) == value, name


TINY = """
threads: 1
data: {init_args: {resolution: 16, batch_size: 4, num_workers: 0}}
trainer: {accelerator: cpu, devices: 1, max_epochs: 1, limit_train_batches: 2}
wandb: {mode: disabled}
"""
TINY_SEARCH = """
model:
  space: {width: 0.1, base_filters: [16, 24], base_layers: [1, 1], strides: [1, 2], layers: [0],
    head: 32}
  cost: macs
  schedule: {share: 0.2, uniform: null}
  sampling: {samples: 2}
  surrogate: {networks: 3, first: 2, rounds: 2, updates: 1}
  final: {samples: 4, candidates: 1, recalibration_images: 8, tuning_steps: null, measured: 0}
"""


def test_the_configs_for_image_folders_search_and_retrain(image_root, tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "tiny-search.yaml").write_text(TINY + TINY_SEARCH)

    def run(name, folder, overlay, *options):
        config, data = CONFIGS / "imagefolder" / f"{name}.yaml", f"--data.root={image_root}"
        line = ["fit", "-c", config, "-c", tmp_path / overlay, f"--run={folder}", data, *options]
        monkeypatch.setattr(sys, "argv", [name, *map(str, line)])
        command_of(config)()
        if torch.distributed.is_initialized():  # left by the strategy of the search's config
            torch.distributed.destroy_process_group()

    searched, trained = tmp_path / "searched", tmp_path / "trained"
    run("search", searched, "tiny-search.yaml", "--trainer.max_epochs=9")
    found = read_arch(searched / "arch.json")
    assert (found.classes, found.resolution, found.step) == (3, 16, 4)
    assert found.predicted <= found.target
    run("retrain", trained, "tiny.yaml", f"--model.arch={searched / 'arch.json'}")
    last = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert (trained / "metrics.csv").exists()
