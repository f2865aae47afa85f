"""Weights & Biases: one W&B run for each run folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytorch_lightning.loggers import WandbLogger
from wandb.errors import Error

from supernet.archfile import write_atomic
from supernet.errors import UserError
from supernet.run import is_first_process


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
    if settings.mode == "online":
        _connect(logger)
    return logger


def _connect(logger: WandbLogger) -> None:
    """Start the W&B run now, so that a missing login ends no search that has begun."""
    try:
        _ = logger.experiment
    except Error as error:
        reason = " ".join(str(error).split())
        raise UserError(f"W&B: {reason} Log in, or use --wandb.mode offline") from None
