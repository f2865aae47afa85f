"""Loggers of a run: metrics.csv, whose rows survive a stop and stand once, and W&B."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from wandb.errors import Error

from supernet.command.process import is_first_process
from supernet.errors import UserError, one_line
from supernet.files.csv_table import CsvRows
from supernet.files.writing import write_atomic


class MetricsCsv(Logger):
    """Lightning logger of ``metrics.csv``; unlike CSVLogger it continues a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._rows: CsvRows | None = None
        self._last: tuple[int | None, dict[str, float]] | None = None

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
        """Append one row, unless it has just been appended."""
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        if values and self._last != (step, values):
            self.experiment.append(step or 0, values)
            self._last = step, values

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any) -> None:
        """Nothing: config.yaml is the record."""


def log_metrics(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    """Give values to each of a trainer's loggers."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=step)


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases tracking."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    """Offline writes into the run folder; ``wandb sync`` uploads it later."""
    project: str = "mnasnet-search"
    """Project that the run appears in."""


def wandb_logger(folder: Path, settings: Wandb) -> WandbLogger:
    """A logger that goes on with the W&B run whose id the folder holds.

    Raises:
        UserError: when W&B cannot be reached; offline needs nothing.
    """
    stored = folder / "wandb_id"
    run_id = stored.read_text().strip() if stored.exists() else os.urandom(4).hex()
    if not stored.exists() and is_first_process():
        write_atomic(stored, run_id.encode())
    logger = WandbLogger(
        name=folder.name,
        save_dir=folder,
        project=settings.project,
        id=run_id,
        offline=settings.mode == "offline",
        resume="allow",
        settings={"silent": True, "console": "off"},
    )
    # Lightning 2.6 passes on a setting that W&B only warns of.
    logger._wandb_init.pop("anonymous", None)
    if settings.mode == "offline":
        return logger
    try:
        # Start the W&B run now, so that a missing login ends no search that has begun.
        _ = logger.experiment
    except Error as error:
        raise UserError(f"W&B: {one_line(error)} Log in, or use --wandb.mode offline") from None
    return logger
