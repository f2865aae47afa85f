"""benchmarks/gpu_check, on the CPU: its parts, its rows, its probe and its data."""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn

from benchmarks.gpu_check.parts import STOPPED, Part, all_parts, run_part, run_parts, select
from benchmarks.gpu_check.rows import RATES, Rows, keep, rows_path
from benchmarks.gpu_check.sync_probe import SyncProbe
from benchmarks.gpu_check.synthetic_images import Synthetic, write_images
from supernet.data.run_data import RunData
from supernet.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """The rows that a check has written, by section: {section: {name: row}}."""
    monkeypatch.setenv("OUT", str(tmp_path))

    def read():
        found = defaultdict(dict)
        for line in rows_path().read_text().splitlines():
            row = json.loads(line)
            found[row["section"]][row["name"]] = row
        return found

    return read


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/gpu_check").glob("*.py")), ids=lambda path: path.stem
)
def test_every_module_finds_what_it_imports(path):
    importlib.import_module(f"benchmarks.gpu_check.{path.stem}".removesuffix(".__init__"))


def test_a_row_says_what_and_where_it_was_measured(rows, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.record.commit", lambda: "")  # a copy without git
    monkeypatch.setenv("COMMIT", "fa87f1f")
    Rows("parity").add("logits", 0.5, "", "of two")
    Rows("parity").add("logits", 0.25)
    assert "logits" in capsys.readouterr().out
    first, second = map(json.loads, rows_path().read_text().splitlines())
    assert (first["value"], first["note"], first["commit"]) == (0.5, "of two", "fa87f1f")
    assert first["config"] == second["config"]  # the figure that two checks compare
    assert first["device"]


def test_parts_are_selected_in_order_with_what_they_need(tmp_path):
    parts = all_parts(tmp_path)
    assert select(parts, []) == parts
    chosen = select(parts, ["search_files", "env"])
    assert [part.name for part in chosen] == ["env", "images", "search_files"]


def test_all_parts_on_a_gpu_take_less_than_ten_minutes(tmp_path):
    assert sum(part.limit_s for part in all_parts(tmp_path)) < 600


def test_rows_of_a_gpu_alone_are_kept(rows, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchmarks.gpu_check.rows.RESULTS", tmp_path)
    Rows("parity").add("logits", 0.5)
    check = rows_path().rename(tmp_path / "check.jsonl")
    with pytest.raises(UserError, match="no row of a GPU"):
        keep(check)
    monkeypatch.setattr("benchmarks.gpu_check.rows.GPU", True)
    Rows("parity").add("logits", 0.25)
    rows_path().rename(check)
    keep(check)
    keep(check)
    kept = map(json.loads, rows_path().read_text().splitlines())
    assert [row["value"] for row in kept] == [0.25, 0.25]
    with pytest.raises(UserError, match="is missing"):
        keep(tmp_path / "nothing.jsonl")


def test_a_part_reports_how_it_ended(rows, capsys):
    run_part(Part("broken", 9, ["benchmarks.gpu_check.nothing"]), 9)
    assert rows()["broken"]["exit status"]["value"] == 1
    assert "nothing" in rows()["broken"]["exit status"]["note"]
    assert "nothing" in rows_path().with_suffix(".log").read_text()
    run_part(Part("slow", 1, ["http.server", "0"]), 1)
    assert rows()["slow"]["exit status"]["value"] == STOPPED
    assert rows()["slow"]["seconds"]["value"] < 9


def test_parts_end_with_the_check(tmp_path):
    pid = tmp_path / "pid"
    wait = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()));"
    part = f"Part('slow', 60, ['timeit', '-s', {wait + 'time.sleep(60)'!r}])"
    code = f"from benchmarks.gpu_check.parts import *; run_parts([{part}], 60)"
    environment = {**os.environ, "OUT": str(tmp_path)}
    check = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    check.terminate()
    assert check.wait(20) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_parts_for_which_no_time_is_left_are_named(rows, capsys):
    run_parts([Part("late", 9, ["benchmarks.gpu_check.nothing"])], 5)
    assert "late: skipped" in capsys.readouterr().out


class Waiting(pl.LightningModule):
    """Does in each step what torch tells of on a GPU."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("does not yet detect all synchronizing operations", stacklevel=1)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(probe, steps):
    data = Synthetic(resolution=8, batch_size=4, num_images=40, num_workers=0)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, max_epochs=-1, callbacks=[probe], **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Waiting(), datamodule=data)


def test_the_probe_counts_waits_by_line(rows, monkeypatch):
    monkeypatch.setattr("benchmarks.gpu_check.sync_probe.PACKAGES", ("tests",))
    show = warnings.showwarning
    train(SyncProbe("run", first=3, num_steps=4), steps=12)
    assert warnings.showwarning is show
    total, usual, place = rows()["syncs"].values()
    assert (total["name"], total["value"]) == ("run: waits for the GPU", 1.0)
    assert (usual["value"], usual["note"]) == (1, "median of 4 steps")
    assert place["name"].startswith("run: tests/benchmarks/test_gpu_check.py:")
    assert place["value"] == 1.0
    speed = rows()["run"]["images per second"]
    assert speed["value"] > 0
    assert speed["note"] == "median of 6 steps of 4 images"


def test_a_probe_ends_with_a_shorter_run(rows):
    train(SyncProbe("run", first=5, num_steps=20), steps=7)
    total, *_ = rows()["syncs"].values()
    assert (total["value"], total["note"]) == (1.0, "3 steps")
    train(SyncProbe("short", first=9, num_steps=20), steps=7)
    assert "short: waits for the GPU" not in rows()["syncs"]


def test_synthetic_data_serve_a_search_and_a_retraining():
    data = Synthetic(resolution=16, batch_size=8, num_images=400, num_workers=0)
    sizes = {"train": 400, "weights": 360, "reward": 40, "val": 8, "test": 8}
    for name, size in sizes.items():
        loader = getattr(data, f"{name}_dataloader")()
        images, labels = next(iter(loader))
        assert images.shape == (8, 3, 16, 16)
        assert labels.shape == (8,)
        assert len(loader.dataset) == size
    assert RunData(data, "search", 0).reward_batch(0, 0)[0].shape == (8, 3, 16, 16)
    assert RunData(data, "retrain", 0).num_val == 8


def test_jpeg_files_lie_in_class_folders(tmp_path):
    write_images(tmp_path, num_files=2, side=32)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == 8 * 2
    assert len({path.read_bytes() for path in files}) == len(files)
    with Image.open(files[0]) as image:
        assert image.size == (32, 24)


@pytest.mark.slow
def test_the_check_runs_on_the_cpu(rows, tmp_path):
    # search_224 is retrain's data in search_files' search; latency_small takes a minute by itself.
    parts = "env parity throughput retrain memory images reading compile search_files"
    parts += " search_digits pytest_gpu"
    line = ["benchmarks/gpu_check/run.sh", *parts.split(), "latency_table", "--limit", "900"]
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path)}
    check = subprocess.run(line, cwd=ROOT, env=environment, check=False)
    assert check.returncode == 0
    found = rows()
    stopped = found["latency_table"].pop("exit status")["value"]
    assert stopped in (0, STOPPED)
    for section in parts.split():
        assert found[section]["exit status"]["value"] == 0
    assert set(found) == {*parts.split(), "latency_table", "syncs"}
    assert set(RATES.values()) <= {*found["throughput"], *found["compile"]}
    for section in found:
        values = [row["value"] for row in found[section].values()]
        assert section == "env" or all(math.isfinite(value) for value in values)
    assert found["parity"]["fp32: logits, relative error"]["value"] < 1e-5
