"""``python -m search fit -c configs/digits/search.yaml``, and ``choose`` from what it has found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from search.choose.command import choose
from supernet.command.early import answer_early
from supernet.command.process import run_command
from supernet.run.folder import WAY_ON

if TYPE_CHECKING:
    import pytorch_lightning as pl


CHOOSE = (
    "choose: networks for other targets, devices or limits from a finished search (choose --help)"
)


def search_callbacks(folder: Path) -> list[pl.Callback]:
    """The callbacks of a search in a run folder."""
    from search.callbacks import StepLog, UniformCheckpoint
    from search.dry_pass import SearchDryPass
    from search.monitoring.compute import Spending
    from search.monitoring.health import Health
    from search.selection.bn_probe import BatchNormProbe
    from search.selection.results import Results

    health = Health()
    spending = Spending(lambda: health.image_macs)
    return [
        SearchDryPass(folder),
        StepLog(folder),
        health,
        spending,
        BatchNormProbe(),
        # After Health, which has counted the step by then.
        UniformCheckpoint(folder),
        Results(folder, spending),
    ]


def search() -> None:
    """Search for an architecture, in a process whose endings ``run_command`` has in hand."""
    words = answer_early("search", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.module import SearchModule
    from search.next_step import SearchCLI

    SearchCLI(SearchModule, "search", search_callbacks, args=words, more=CHOOSE)


def main() -> None:
    """Search for an architecture, or choose others from a finished search."""
    if sys.argv[1:2] == ["choose"]:
        run_command(lambda: choose(sys.argv[2:]), trains=True)
    else:
        run_command(search, WAY_ON, trains=True)


if __name__ == "__main__":
    main()
