"""Thirty kills at random moments: a run that is continued after each ends as the one left alone."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.interrupted import lines, state_hash

ROOT = Path(__file__).parents[2]
TWO = ["--trainer.devices", "2", "--trainer.strategy"]
RETRAINING = """
seed_everything: 3
threads: 1
data: {class_path: Digits, init_args: {resolution: 8, batch_size: 16}}
model:
  arch: mnasnet_small
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0.99, dropout: 0.2}
trainer: {accelerator: cpu, devices: 1, max_epochs: 4, limit_train_batches: 25,
          log_every_n_steps: 1}
wandb: {mode: disabled}
"""
PAUSE_S = 6.0
"""The longest time from a run's first checkpoint, or its start, to its kill."""
STOPPED = "stopped by SIGTERM: go on with the same command and --ckpt_path last"


class Runs:
    """Starts and kills of one command in one run folder."""

    def __init__(self, arguments, folder, ranks):
        self.arguments, self.folder, self.ranks = [*arguments, "--run", str(folder)], folder, ranks
        self.last = folder / "checkpoints" / "last.ckpt"
        self.moments = []

    def start(self):
        line = [sys.executable, "-W", "ignore", "-m", *self.arguments, "--ckpt_path", "auto"]
        return subprocess.Popen(
            line,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"TORCH_CPP_LOG_LEVEL": "ERROR", "TMPDIR": "/nowhere"},
        )

    def kill(self, how):
        """Send a signal at a random moment, most often when the run goes on from a checkpoint."""
        before = self._written()
        process = self.start()
        deadline = time.monotonic() + 300
        while self._written() == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(random.uniform(0, PAUSE_S))
        whom = random.choice(self._processes(process.pid))
        try:
            (os.killpg if whom == "all" else os.kill)(process.pid if whom == "all" else whom, how)
        except ProcessLookupError:
            whom = "none"
        output, errors = process.communicate(timeout=120)
        self.moments.append((how.name, whom, process.returncode, output[-100:], errors))
        self._check(process, how, errors.splitlines())

    def _written(self):
        return self.last.stat().st_mtime_ns if self.last.exists() else 0

    def _processes(self, first):
        if self.ranks == 1:
            return [first]
        try:
            children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        except FileNotFoundError:
            return [first]
        return [first, *map(int, children), "all"]

    def _check(self, process, how, errors):
        if process.returncode == 0:
            return  # it had come to its end
        if how == signal.SIGTERM:
            assert process.returncode == 143, self.moments
            assert errors == [STOPPED], self.moments
        else:
            assert process.returncode in (-signal.SIGKILL, 2), self.moments
            assert len(errors) <= 1, self.moments

    def finish(self):
        process = self.start()
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, (output, errors, self.moments)
        left = [path.name for path in self.folder.rglob("*.tmp")]
        assert left == [], self.moments


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "ranks", "kills"),
    [("search", 1, 8), ("search", 2, 7), ("retrain", 1, 8), ("retrain", 2, 7)],
)
def test_a_run_that_is_killed_at_random_moments_ends_as_the_one_left_alone(
    tiny_search, tmp_path, command, ranks, kills
):
    config = tmp_path / "tiny.yaml"
    arguments = [command, "fit", "-c", str(config), "--checkpoint_every_s", "0"]
    if command == "search":
        arguments += ["--trainer.max_steps", "120"]
    else:
        config.write_text(RETRAINING)
    if ranks == 2:
        arguments += [*TWO, "ddp_find_unused_parameters_true" if command == "search" else "ddp"]
    whole, killed = (Runs(arguments, tmp_path / name, ranks) for name in ("whole", "killed"))
    for how in itertools.islice(itertools.cycle((signal.SIGKILL, signal.SIGTERM)), kills):
        killed.kill(how)
    killed.finish()
    whole.finish()
    sys.stdout.write("\n".join(map(str, killed.moments)))
    for checkpoint in ("last",) if command == "search" else ("last", "best"):
        assert state_hash(killed.folder, checkpoint) == state_hash(whole.folder, checkpoint), (
            checkpoint,
            killed.moments,
        )
    for name in ("metrics.csv", "samples.csv", "arch.json", "pareto.json"):
        assert lines(killed.folder / name) == lines(whole.folder / name), (name, killed.moments)
