"""A training on images in containers is killed, and ends as the one that was left alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.encoded_images import NAMES, labelled, write_shard
from tests.helpers.interrupted import ROOT, lines, state_hash

CONFIG = """
seed_everything: 3
threads: 1
data: {class_path: KIND, init_args: {root: ROOT, resolution: 8, batch_size: 8, num_workers: 2}}
wandb: {mode: disabled}
"""
TRAININGS = {
    "retrain": """
model:
  arch: mnasnet_small
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0.99, dropout: 0.2}
trainer: {accelerator: cpu, devices: 1, max_epochs: 3, log_every_n_steps: 1}
""",
    "search": """
model:
  space: {width: 0.1, base_layers: [1, 1, 1, 1, 1, 1, 1], layers: [0, 1], head: 32}
  cost: macs
  target: p40
  sampling: {score: soft_accuracy, every: 2, samples: 4, images: 4}
  final: {samples: 8, candidates: 2, recalibration_images: 16, tuning_steps: 2, measured: 0}
trainer: {accelerator: cpu, devices: 2, max_steps: 24, max_epochs: -1, log_every_n_steps: 1}
""",
}
"""A search has two processes, which share the images."""


def save_rows(root):
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    images = labelled(40)
    columns = {
        "image": [{"bytes": content, "path": None} for content, _ in images],
        "label": [label for _, label in images],
    }
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    datasets.Dataset.from_dict(columns, datasets.Features(kinds)).save_to_disk(root)


def save_shards(root):
    for number in range(3):
        write_shard(root / f"part-{number}.tar", labelled(40)[number::3], 100 * number)


KINDS = {"HuggingFace": save_rows, "WebDataset": save_shards}


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAININGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_killed_ends_as_the_one_left_alone(tmp_path, kind, command):
    KINDS[kind](tmp_path / "images")
    config, text = tmp_path / "training.yaml", CONFIG + TRAININGS[command]
    config.write_text(text.replace("KIND", kind).replace("ROOT", str(tmp_path / "images")))
    line = [sys.executable, "-W", "ignore", "-m", command, "fit", "-c", str(config)]
    line += ["--checkpoint_every_s", "0", "--ckpt_path", "auto", "--run"]
    pipe = subprocess.PIPE

    def start(name):
        return subprocess.Popen(
            [*line, str(tmp_path / name)], cwd=ROOT, stderr=pipe, text=True, start_new_session=True
        )

    for steps in (4, 16) if command == "retrain" else (14,):
        killed = start("killed")
        rows = tmp_path / "killed" / "metrics.csv"
        while not rows.exists() or rows.read_bytes().count(b"\n") < steps:
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.02)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
    for name in ("killed", "whole"):
        process = start(name)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    folders = [tmp_path / name for name in ("killed", "whole")]
    for checkpoint in ("last", "best") if command == "retrain" else ("last",):
        assert state_hash(folders[0], checkpoint) == state_hash(folders[1], checkpoint)
    for name in ("metrics.csv", "samples.csv", "arch.json"):
        assert lines(folders[0] / name) == lines(folders[1] / name), name
