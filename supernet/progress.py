"""One progress bar for a whole run, with the time that is left."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from supernet.run import steps_done

LINE_EVERY_S = 20.0
"""Seconds between progress lines where the output is no terminal."""


class ProgressLines(Progress):
    """What every long part shows: what, how far, time left, and what it measures.

    A bar on a terminal. A log file gets a line every ``LINE_EVERY_S`` seconds and a last one.
    """

    def __init__(self, shown: bool = True) -> None:
        """``shown`` is False on all ranks but the first."""
        super().__init__(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            refresh_per_second=2,
        )
        self.disable = not (shown and self.console.is_terminal)
        self._in_lines = shown and not self.console.is_terminal
        self._line_at = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task."""
        super().update(task_id, **changes)
        if self._in_lines and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._print_lines()

    def stop(self) -> None:
        """End with how far it came."""
        super().stop()
        if self._in_lines:
            self._print_lines()

    def _print_lines(self) -> None:
        self._line_at = time.monotonic()
        for task in self.tasks:
            parts = [f"{task.description} {task.completed:.0f}/{task.total or 0:.0f}"]
            if task.time_remaining:
                parts.append(f"{task.time_remaining:.0f} s left")
            parts.append(task.fields["status"])
            line = "  ".join(part for part in parts if part)
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)


class RunProgress(ProgressBar):
    """Counts the optimizer steps of the whole run, not of one epoch.

    Epochs of a small data set last a second, so that Lightning's bars would never show when a
    search ends.
    """

    def __init__(self, description: str) -> None:
        """``description`` names the run's stage."""
        super().__init__()
        self.description = description
        self._bar: ProgressLines | None = None
        self._enabled = True

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The counterpart that Lightning asks for."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step where the run continues."""
        if self._enabled:
            self._bar = ProgressLines()
            self._task = self._bar.add_task(
                self.description,
                total=int(trainer.estimated_stepping_batches),
                completed=steps_done(pl_module),
                status="",
            )
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Advance by one step."""
        if not self._bar:
            return
        values = {**trainer.progress_bar_metrics, **getattr(pl_module, "status", {})}
        status = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        self._bar.update(self._task, completed=steps_done(pl_module), status=status)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message that follows starts on its own line."""
        self._close()

    def _close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
