"""Callbacks of every run: its files, seeds and progress."""

import dataclasses
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from supernet.arch_records import package_versions
from supernet.command.output import ProgressLines
from supernet.data.resumable import batches_done
from supernet.data.run_data import RunData
from supernet.files.writing import write_atomic
from supernet.run.distributed import step_seed
from supernet.tracking.metrics import MetricsCsv, log_interval

LOSS = "train/loss"
"""Name of the loss that a retraining logs and its progress line shows."""


class RunProgress(pl.Callback):
    """Counts the optimizer steps of the whole run, not of one epoch.

    Epochs of a small data set last a second, so that Lightning's bars would never show when a
    search ends.
    """

    def __init__(self, description: str) -> None:
        self.description = description
        self._bar = ProgressLines(shown=False)
        self._shown: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step where the run continues."""
        self._bar = ProgressLines(shown=trainer.is_global_zero)
        total, done = int(trainer.estimated_stepping_batches), trainer.global_step
        self._task = self._bar.add_task(self.description, total=total, completed=done, status="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Advance by one step; numbers that it returns as ``shown`` stand until they are replaced.

        The loss that Lightning logs is read once in a logging interval: reading waits for a GPU.
        """
        if not trainer.is_global_zero:
            return
        is_due = not self._shown or trainer.global_step % log_interval(trainer) == 0
        if is_due and LOSS in trainer.callback_metrics:
            self._shown[LOSS] = float(trainer.callback_metrics[LOSS])
        self._shown |= (outputs or {}).get("shown", {})
        values = {**trainer.progress_bar_metrics, **self._shown}
        status = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        self._bar.update(self._task, completed=trainer.global_step, status=status)

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Close the bar, so that the message that follows starts on its own line."""
        self._bar.stop()


class RunFiles(pl.Callback):
    """Writes ``config.yaml`` and cuts ``metrics.csv`` to the step, once training begins.

    Checkpoints say what the data are, for whoever uses the network later. A run that was refused,
    say for another seed than its checkpoint's, leaves the files as they were.
    """

    def __init__(self, folder: Path, config: str) -> None:
        self.path, self.config = folder / "config.yaml", config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, on one process."""
        if not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        found = getattr(data, "found_batch_size", None)
        if found:
            self.config = self.config.replace("batch_size: auto", f"batch_size: {found}")
        write_atomic(self.path, self.config.encode())
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                # What was logged after the checkpoint will be logged again.
                logger.experiment.cut(trainer.global_step - 1)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the description of the data as plain values, and what computes."""
        checkpoint["versions"] = dict(package_versions())
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, RunData):
            checkpoint["data"] = dataclasses.asdict(data.description)


class SeedEachStep(pl.Callback):
    """Makes dropout and the like a function of (seed, step, rank): a resumed run repeats it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Seed torch's global generators of the CPU and of the device that trains."""
        seed = step_seed(self.seed, batches_done(pl_module), trainer.global_rank)
        # torch.manual_seed asks for every kind of device, which takes half a millisecond.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type != "cpu":
            torch.get_device_module(pl_module.device).manual_seed(seed)
