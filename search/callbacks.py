"""What a search writes into its run folder and logs to W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from search.module import SearchModule
from search.monitoring.health import Health
from search.monitoring.spending import Spending
from search.selection.bn_probe import BatchNormProbe
from search.selection.results import Results
from supernet.run.metrics import CsvRows


def search_callbacks(folder: Path) -> list[pl.Callback]:
    """The callbacks of a search in a run folder."""
    health = Health()
    spending = Spending(health)
    # Health counts a step before a checkpoint of it is saved.
    return [
        health,
        spending,
        BatchNormProbe(),
        SampleLog(folder),
        UniformCheckpoint(folder),
        Results(folder, spending),
    ]


class SampleLog(pl.Callback):
    """samples.csv: what rank 0's architectures scored, one row each."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "samples.csv"
        self.rows: CsvRows | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget rows past the checkpoint."""
        if trainer.is_global_zero:
            self.rows = CsvRows(self.path)
            self.rows.cut(cast(SearchModule, pl_module).steps_done - 1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Add the samples of this step."""
        if self.rows and isinstance(pl_module, SearchModule):
            names = ("accuracy", "cost", "reward", "target")
            for row in pl_module.scored:
                self.rows.append(pl_module.steps_done - 1, dict(zip(names, row, strict=True)))


class UniformCheckpoint(pl.Callback):
    """checkpoints/uniform.ckpt: the supernet as the controller takes over, for measuring it."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run folder."""
        self.path = folder / "checkpoints" / "uniform.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Save once, at the first step under the policy."""
        if pl_module.policy_started_now:
            trainer.save_checkpoint(self.path, weights_only=False)
