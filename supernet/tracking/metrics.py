"""Rows of metrics: metrics.csv, which survives a stop, and the other loggers of a trainer."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from supernet.files.csv_table import CsvRows


class MetricsCsv(Logger):
    """Lightning logger of ``metrics.csv``; unlike CSVLogger it continues a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._rows: CsvRows | None = None

    @property
    def name(self) -> str:
        """The file that is written."""
        return "metrics.csv"

    @property
    def version(self) -> str:
        """A run folder holds one version."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> CsvRows:
        """The rows, read on first use."""
        self._rows = self._rows or CsvRows(self.folder / self.name)
        return self._rows

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row, unless it is the last: Lightning repeats rows, a test its figures."""
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        if values and not self.experiment.ends_with(step or 0, values):
            self.experiment.append(step or 0, values)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any) -> None:
        """Nothing: config.yaml is the record."""


def log_interval(trainer: pl.Trainer) -> int:
    """Steps from one row of a trainer's metrics to the next."""
    owner: Any = trainer
    return max(1, owner.log_every_n_steps)


def log_metrics(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    """Give values to each of a trainer's loggers."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=step)


def wandb_runs(trainer: pl.Trainer) -> list[Any]:
    """The runs of W&B that a trainer logs to; call it on the first process alone."""
    return [one.experiment for one in trainer.loggers if isinstance(one, WandbLogger)]
