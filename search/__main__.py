"""``python -m search fit -c configs/digits/search.yaml``."""

from pathlib import Path

import pytorch_lightning as pl

from search.callbacks import StepLog, UniformCheckpoint
from search.module import SearchModule
from search.monitoring.compute import Spending
from search.monitoring.health import Health
from search.selection.bn_probe import BatchNormProbe
from search.selection.results import Results
from supernet.command.process import run_command
from supernet.run.cli import CLI
from supernet.run.folder import WAY_ON


def search_callbacks(folder: Path) -> list[pl.Callback]:
    """The callbacks of a search in a run folder."""
    health = Health()
    spending = Spending(lambda: health.image_macs)
    return [
        StepLog(folder),
        health,
        spending,
        BatchNormProbe(),
        # After Health, which has counted the step by then.
        UniformCheckpoint(folder),
        Results(folder, spending),
    ]


def main() -> None:
    """Search for an architecture."""
    run_command(lambda: CLI(SearchModule, "search", search_callbacks), WAY_ON, trains=True)


if __name__ == "__main__":
    main()
