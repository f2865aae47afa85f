"""The run of W&B that a folder's commands write to, and the settings that name it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pytorch_lightning.loggers import WandbLogger
from wandb.errors import Error

from supernet.command.process import is_first_process
from supernet.errors import UserError, one_line
from supernet.files.writing import write_atomic

SWEEP_ID, RUN_ID = "WANDB_SWEEP_ID", "WANDB_RUN_ID"
"""Variables by which the agent of a sweep tells a command what it is."""


Mode = Literal["offline", "online", "disabled"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases tracking."""

    mode: Mode = "offline"
    """Offline writes into the run folder; ``wandb sync`` uploads it later."""
    project: str = "mnasnet-search"
    """Project that the run appears in."""
    entity: str = ""
    """User or team that the project belongs to; W&B's default of the account if empty."""
    name: str = ""
    """Name of the run; that of its folder if empty."""
    group: str = ""
    """Runs of one group are shown together."""
    job_type: str = ""
    """Kind of the run within its group; search or retrain if empty."""
    tags: list[str] = field(default_factory=list)
    """Words that runs are found by."""


def folder_of_run(folder: str) -> str:
    """The folder of a command: below the given one, under W&B's id, where a sweep starts it.

    All commands of a sweep have one line, and each run a folder of its own.
    """
    run_id = os.environ.get(RUN_ID, "")
    return str(Path(folder) / run_id) if os.environ.get(SWEEP_ID) and run_id else folder


def wandb_logger(folder: Path, settings: Wandb, role: str) -> WandbLogger:
    """A logger that goes on with the run whose id the folder holds, or is the agent's of a sweep.

    Raises:
        UserError: when W&B cannot be reached; offline needs nothing.
    """
    stored = folder / "wandb_id"
    fresh = os.environ.get(RUN_ID) if os.environ.get(SWEEP_ID) else None
    run_id = stored.read_text().strip() if stored.exists() else fresh or os.urandom(4).hex()
    if not stored.exists() and is_first_process():
        write_atomic(stored, run_id.encode())
    logger = WandbLogger(
        name=settings.name or folder.name,
        save_dir=folder,
        project=settings.project,
        entity=settings.entity or None,
        group=settings.group or None,
        job_type=settings.job_type or role,
        tags=settings.tags or None,
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


def finish(logger: WandbLogger, failed: bool) -> None:
    """End the run that a logger has begun, if any: the next of this process is another."""
    if logger._experiment is not None and is_first_process():
        logger.experiment.finish(exit_code=int(failed))
