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
model:
  arch: mnasnet_small
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0.99, dropout: 0.2}
trainer: {accelerator: cpu, devices: 1, max_epochs: 3, log_every_n_steps: 1}
wandb: {mode: disabled}
"""


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
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_killed_ends_as_the_one_left_alone(tmp_path, kind):
    KINDS[kind](tmp_path / "images")
    config = tmp_path / "retrain.yaml"
    config.write_text(CONFIG.replace("KIND", kind).replace("ROOT", str(tmp_path / "images")))
    line = [sys.executable, "-W", "ignore", "-m", "retrain", "fit", "-c", str(config)]
    line += ["--checkpoint_every_s", "0", "--ckpt_path", "auto", "--run"]
    pipe = subprocess.PIPE

    def start(name):
        return subprocess.Popen(
            [*line, str(tmp_path / name)], cwd=ROOT, stderr=pipe, text=True, start_new_session=True
        )

    for steps in (4, 16):
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
    for checkpoint in ("last", "best"):
        assert state_hash(folders[0], checkpoint) == state_hash(folders[1], checkpoint)
    assert lines(folders[0] / "metrics.csv") == lines(folders[1] / "metrics.csv")
