"""Callbacks of a search: their typed base, and those that write what each step did."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from search.module import SearchModule
from search.step import StepRecord
from supernet.files.csv_table import CsvRows
from supernet.run.metrics import log_metrics


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
        """Hand the step's record over."""
        self.on_step(searching(pl_module), outputs["record"])

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """After each weight step, and the controller step that may follow it."""


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

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Log what is due, and the samples of this step."""
        number, update = record.plan.number, record.update
        for logs in (record.logs, update.logs if update else {}):
            if logs:
                log_metrics(search.trainer, logs, number)
        if self.rows and update:
            scores = update.scores
            columns = {"accuracy": scores.accuracy, "cost": scores.cost, "reward": scores.reward}
            columns |= {"target": update.limits}
            for row in torch.stack([*columns.values()], dim=1).tolist():
                self.rows.append(number, dict(zip(columns, row, strict=True)))


class UniformCheckpoint(SearchCallback):
    """checkpoints/uniform.ckpt: the supernet as the controller takes over, for measuring it."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "checkpoints" / "uniform.ckpt"

    def on_step(self, search: SearchModule, record: StepRecord) -> None:
        """Save once, before the first step under the policy."""
        if record.plan.is_last_uniform:
            search.trainer.save_checkpoint(self.path, weights_only=False)
