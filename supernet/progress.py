"""One progress bar for a whole run, with the time that is left."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from supernet.progress_lines import ProgressLines
from supernet.run import steps_done


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
