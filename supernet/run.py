"""A run's folder: what may start in it, its metrics file, and the checkpoint to continue from."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from supernet.archfile import write_atomic
from supernet.errors import UserError

Built = TypeVar("Built")

CONTINUE = "--ckpt_path last"


def last_checkpoint(folder: Path) -> Path:
    """Where the newest state of a run lies."""
    return folder / "checkpoints" / "last.ckpt"


def starting_point(folder: Path, ckpt_path: str | None) -> str | None:
    """Decide from where ``fit`` starts in a run folder.

    Args:
        folder: the run folder.
        ckpt_path: what the user asked for: nothing, ``last`` or a file.

    Returns:
        The checkpoint to load, or None to start at step 0. That is also the answer to ``last`` in
        a run that was stopped before its first checkpoint.

    Raises:
        UserError: on starting anew where a run lies, or continuing where none does.
    """
    last = last_checkpoint(folder)
    if ckpt_path is None:
        if last.exists():
            raise UserError(
                f"{folder} already holds a run: continue it with {CONTINUE}, or name another --run"
            )
        return None
    if ckpt_path == "last":
        if last.exists():
            return str(last)
        if (folder / "config.yaml").exists():
            return None
        raise UserError(f"nothing to continue in {folder}: start without {CONTINUE}")
    if not Path(ckpt_path).is_file():
        raise UserError(f"no checkpoint at {ckpt_path}: give a file, or {CONTINUE}")
    return ckpt_path


def is_first_process() -> bool:
    """Whether this process writes what is written once, known before a Trainer is."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name, "0")) == 0 for name in names)


def make_folder(folder: Path) -> None:
    """Make a run folder unless it is there.

    Raises:
        UserError: when a file has its name or its place cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the run folder {folder} ({error.strerror}): name another --run"
        ) from None


def check_checkpoint(path: str | Path) -> None:
    """Refuse what no run has written, or not wholly, before anything long begins.

    Raises:
        UserError: naming the file and what is wrong.
    """
    way_out = f"give another --ckpt_path, or start anew in another --run without {CONTINUE}"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UserError(f"{path} is no whole checkpoint ({reason}): {way_out}") from None
    needed = ("state_dict", "optimizer_states", "loops", "pytorch-lightning_version")
    held = checkpoint if isinstance(checkpoint, dict) else {}
    missing = [name for name in needed if name not in held]
    if missing:
        raise UserError(f"{path} is not the checkpoint of a run, it has no {missing[0]}: {way_out}")


class Stepping(Protocol):
    """A module that counts the training batches that each rank has consumed."""

    steps_done: int


def steps_done(module: pl.LightningModule) -> int:
    """The place of a run in its data: what a search or a retraining counts."""
    return cast(Stepping, module).steps_done


def first_on_rank_zero(trainer: pl.Trainer, build: Callable[[], Built]) -> Built:
    """What ``build`` gives; other ranks call it after rank 0, whose cached work they then find."""
    if trainer.is_global_zero:
        built = build()
    trainer.strategy.barrier("rank 0 first")
    return built if trainer.is_global_zero else build()


class SavedConfig(pl.Callback):
    """Writes ``config.yaml`` once training begins.

    A run that was refused, say for another seed than its checkpoint's, leaves the file as it was.
    """

    def __init__(self, folder: Path, config: str) -> None:
        """``folder`` is the run folder, ``config`` the content in YAML."""
        self.path, self.config = folder / "config.yaml", config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, on one process."""
        if trainer.is_global_zero:
            write_atomic(self.path, self.config.encode())


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` at the start, every ``interval_s`` seconds, and at the end.

    The file is replaced in one step: whenever the process dies, a whole checkpoint remains.
    """

    def __init__(self, folder: Path, interval_s: float = 30.0) -> None:
        """``folder`` is the run folder."""
        self.path = last_checkpoint(folder)
        self.interval_s = interval_s
        self._saved_at = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the fresh state, unless it was just loaded."""
        if not self.path.exists():
            self._save(trainer)
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Save when the interval has passed on rank 0, between two optimizer steps."""
        accumulating = steps_done(pl_module) % trainer.accumulate_grad_batches != 0
        # A run that continues after an epoch's last batch skips that epoch's validation.
        if not accumulating and not trainer.is_last_batch:
            self._save_when_due(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after the validation, when the interval has passed."""
        self._save_when_due(trainer)

    def _save_when_due(self, trainer: pl.Trainer) -> None:
        due = time.monotonic() - self._saved_at >= self.interval_s
        if trainer.world_size > 1:
            due = trainer.strategy.broadcast(due)
        if due:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final weights."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        temporary = self.path.with_name(".last.tmp")
        try:
            trainer.save_checkpoint(temporary, weights_only=False)
            if trainer.is_global_zero:
                temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; the checkpoint before is whole:"
                f" free some space and go on with {CONTINUE}"
            ) from None
        self._saved_at = time.monotonic()


class StopBetweenSteps(pl.Callback):
    """Lets Ctrl-C end training after the current step; a second one ends it at once.

    Python raises KeyboardInterrupt wherever it happens to be, also where it is lost: in a
    destructor, or in a callback from C.
    """

    def __init__(self) -> None:
        """Nobody has pressed it yet."""
        self.asked = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen, where a process may: Python takes signals in its main thread only."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Stop when asked to."""
        if self.asked:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What follows training stops at once, as usual."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.asked:
            raise KeyboardInterrupt


class SeedEachStep(pl.Callback):
    """Makes dropout and the like a function of (seed, step, rank): a resumed run repeats it."""

    def __init__(self, seed: int) -> None:
        """``seed`` is the run's."""
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Seed torch's global generators."""
        torch.manual_seed(step_seed(self.seed, steps_done(pl_module), trainer.global_rank))


def step_seed(*numbers: int) -> int:
    """Mix (seed, step, rank, ...) into one 63-bit seed (splitmix64)."""
    mask, state = (1 << 64) - 1, 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1
