"""Callbacks of a search: their typed base, and those that write what each step did."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from search.module import SearchModule
from search.step import StepRecord, StepResult
from supernet.files.csv_table import CsvRows
from supernet.run.checkpoints import callbacks_of
from supernet.tracking.metrics import MetricsCsv, log_metrics


class SearchCallback(pl.Callback):
    """Reads the record of each step, and has the search by its type."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Hand the step's record over, and that of the controller step that followed it."""
        record: StepRecord | None = (outputs or {}).get("record")
        if record is None:  # in the middle of a step
            return
        self.on_step(searching(pl_module), record)
        if record.update:
            self.on_update(searching(pl_module), record.update, record.plan.number)

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """After each weight step."""

    def on_update(self, search: SearchModule, update: StepResult, number: int) -> None:
        """After each controller step; ``number`` is that of its row among the metrics."""


def notify(search: SearchModule, update: StepResult, number: int) -> None:
    """Tell all callbacks of a controller step that followed no weight step."""
    for callback in callbacks_of(search.trainer):
        if isinstance(callback, SearchCallback):
            callback.on_update(search, update, number)


def searching(module: pl.LightningModule) -> SearchModule:
    """A module, which these callbacks know to be a search."""
    assert isinstance(module, SearchModule)
    return module


class StepLog(SearchCallback):
    """Metrics of each step for all loggers, and samples.csv: a row for each that rank 0 scored."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "samples.csv"
        self.rows: CsvRows | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget rows past the checkpoint."""
        if trainer.is_global_zero:
            self.rows = CsvRows(self.path)
            self.rows.cut(searching(pl_module).steps_done - 1)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget what controller steps after the last weight step wrote before: they follow."""
        search = searching(pl_module)
        if search.learns_from_tunings and trainer.is_global_zero:
            cut_metrics(search)
            self.rows = CsvRows(self.path)
            self.rows.cut(search.steps_done - 1)

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Log what is due."""
        if record.logs:
            log_metrics(search.trainer, record.logs, record.plan.number)

    def on_update(self, search: SearchModule, update: StepResult, number: int) -> None:
        """Log it, and its samples."""
        log_metrics(search.trainer, update.logs, number)
        if self.rows:
            scores = update.scores
            columns = {"accuracy": scores.accuracy, "cost": scores.cost, "reward": scores.reward}
            columns |= {"target": update.limits}
            for row in torch.stack([*columns.values()], dim=1).tolist():
                self.rows.append(number, dict(zip(columns, row, strict=True)))


def cut_metrics(search: SearchModule) -> None:
    """Forget rows of metrics.csv that a stage after the last weight step wrote before."""
    for logger in search.trainer.loggers:
        if isinstance(logger, MetricsCsv) and search.trainer.is_global_zero:
            logger.experiment.cut(search.steps_done - 1)


class UniformCheckpoint(SearchCallback):
    """checkpoints/uniform.ckpt: the supernet as the controller takes over, for measuring it.

    A search by tunings has none: its weights rest from there on, so that last.ckpt is the same.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "checkpoints" / "uniform.ckpt"

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Save once, before the first step under the policy."""
        if record.plan.is_last_uniform and not search.learns_from_tunings:
            search.trainer.save_checkpoint(self.path, weights_only=False)
