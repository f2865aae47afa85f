"""Choices: a finished search that answers another question, in a run of no steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from search.callbacks import cut_metrics, searching
from search.checks import check_identity
from search.choose.finished import FinishedSearch
from search.choose.later_rounds import LaterRounds
from search.choose.question import Question
from search.figures import draw_choices
from search.module import SearchModule
from search.monitoring.compute import Spending
from search.selection.results import Results
from search.settings import Lengths
from search.surrogate.tunings import Tunings
from supernet.errors import UserError
from supernet.run.folder import CONTINUE

SUPERNET = "supernet."


class ChoiceModule(SearchModule):
    """The supernet of a finished search, with another target, device or constraints."""

    finished: FinishedSearch
    """Given before the run begins."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the supernet alone: controller, optimizers and callbacks are of the old question."""
        ours = self.identity
        check_identity(checkpoint.get("search"), {name: ours[name] for name in ("space", "seed")})
        self.steps_done = checkpoint["search"]["steps_done"]
        shared = {
            name: value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(SUPERNET)
        }
        checkpoint["state_dict"] = self.state_dict() | shared
        checkpoint["optimizer_states"], checkpoint["callbacks"] = [], {}

    def tuning_lengths(self) -> Lengths:
        """Lengths of the search's tunings, whose labels count.

        Raises:
            UserError: when the search was to go on.
        """
        if self.steps_done < self.shared_steps:
            raise UserError(
                f"{self.finished.folder} holds a search that is not finished: it has made"
                f" {self.steps_done} of {self.shared_steps} steps of its shared weights; go on with"
                f" its own command and {CONTINUE}"
            )
        return self.finished.lengths


class Choices(Results):
    """As the end of a search, with the rounds of a later question."""

    def __init__(
        self, folder: Path, spending: Spending, finished: FinishedSearch, question: Question
    ) -> None:
        """``folder`` is that of the choice; ``spending`` is told what it costs."""
        super().__init__(folder, spending)
        self.finished, self.question = finished, question

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell the module what it goes on from."""
        assert isinstance(pl_module, ChoiceModule)
        pl_module.finished = self.finished

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin, now that nothing has been refused."""
        if trainer.is_global_zero:
            self.question.keep(self.folder)
        cut_metrics(searching(pl_module))

    def keep_checkpoint(self, trainer: pl.Trainer) -> None:
        """Keep none: the weights are the search's."""

    def rounds(self, module: SearchModule) -> LaterRounds:
        """Those of the question."""
        tunings = Tunings(module, self.folder, self.spending, self.finished.folder)
        return LaterRounds(module, tunings, self.finished, self.question.labels)

    def draw(self) -> list[Path]:
        """Draw all but what a controller has learned, since none has."""
        return draw_choices(self.folder)
