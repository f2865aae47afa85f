"""What a retraining keeps in its run folder, and how ``test`` finds it there."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser
from torch import Tensor

from retrain.dry_pass import TrainingDryPass
from retrain.predictions import TestPredictions
from retrain.record import TrainingRecord
from supernet.arch_records import Chance
from supernet.command.output import say
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.files.writing import write_json
from supernet.network.checkpoint import file_sha256
from supernet.run.cli import CLI


def checkpoint_path(run: Path, checkpoint: str) -> Path:
    """The file of a run's checkpoint ``best`` or ``last``, or the file that ``checkpoint`` names.

    Raises:
        UserError: when there is none.
    """
    if not run.is_dir():
        raise UserError(f"no run in {run}: name the folder of a retraining, such as runs/NAME")
    named = checkpoint in ("best", "last")
    path = run / "checkpoints" / f"{checkpoint}.ckpt" if named else Path(checkpoint)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: give best, last or a file")
    return path


class RetrainCLI(CLI):
    """The shared command line, whose ``test`` takes the best weights unless told otherwise."""

    def before_instantiate_classes(self) -> None:
        """Settle what ``test`` reads before anything long begins."""
        super().before_instantiate_classes()
        if self.subcommand == "test":
            given = self.settings.get("ckpt_path") or "best"
            self.settings.ckpt_path = str(checkpoint_path(self.folder, given))

    def instantiate_classes(self) -> None:
        """Tell the module whether its training is compiled."""
        super().instantiate_classes()
        self.model.compiles = self.compiles

    @property
    def compiles(self) -> bool:
        """Whether a training is compiled; a detector's, which --compile is not for, never is."""
        return bool(self.settings.get("compile"))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Offer ``--compile``."""
        super().add_arguments_to_parser(parser)
        if self.name == "retrain":
            about = "Train by torch.compile; its first batch is compared with an eager one."
            words: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
            parser.add_argument("--compile", help=about, **words)

    def kept_options(self) -> dict[str, Any]:
        """Whether it is compiled, too."""
        return {**super().kept_options(), "compile": self.compiles}


class TestReport(pl.Callback):
    """Writes ``test.json``, the figures that a publication needs, into the run folder."""

    __test__ = False  # not a test, whatever pytest makes of its name

    def __init__(self, folder: Path) -> None:
        self.path = folder / "test.json"

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, on one process."""
        figures = {
            name.removeprefix("test/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("test/")
        }
        report: dict[str, Any] = {
            **figures,
            "images": round(figures["images"]),
            "checkpoint": str(trainer.ckpt_path),
            "checkpoint_sha256": file_sha256(Path(trainer.ckpt_path)) if trainer.ckpt_path else "",
            "arch": pl_module.arch,
        }
        if chance := Chance.of_figures(figures):
            report["alarm"] = chance.alarm
            report |= _classes(trainer)
            tell_unlearned(figures)
        if trainer.is_global_zero:
            write_json(self.path, report, indent=2)


def _classes(trainer: Any) -> dict[str, list[str]]:
    """Names of the classes, for the report; a trainer's own type has no datamodule."""
    data = trainer.datamodule
    return {"classes": list(data.classes)} if isinstance(data, RunData) else {}


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``, the weights of the highest ``figure`` on validation images.

    Of equal ones the latest: a small validation set is saturated long before training ends.
    """

    def __init__(self, folder: Path, figure: str) -> None:
        self.path = folder / "checkpoints" / "best.ckpt"
        super().__init__(
            self.path.parent,
            filename="best",
            monitor=f"val/{figure}",
            mode="max",
            enable_version_counter=False,
        )
        self._judged: tuple[int, dict[str, float]] = (0, {})
        """Optimizer steps of the weights that were last validated, and their figures."""
        self._best: dict[str, float] = {}
        """Figures of the best weights."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the figures of these weights, and the weights if they are the best."""
        figures = {
            name.removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/") and math.isfinite(value)
        }
        self._judged = (trainer.global_step, figures)
        best = self._best.get("accuracy", -1.0)
        if not trainer.sanity_checking and figures.get("accuracy", -1.0) >= best:
            self._best = figures
        super().on_validation_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the validation figures of the very weights that are saved, if they have any."""
        step, figures = self._judged
        if step == trainer.global_step and figures:
            checkpoint["validation"] = figures
        checkpoint["best_validation"] = self._best

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Know them again, so that a continued run that has nothing to do saves the same."""
        self._judged = (checkpoint["global_step"], checkpoint.get("validation", {}))
        self._best = checkpoint.get("best_validation", {})

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether to keep the weights of this validation."""
        as_good = current is not None and current == self.best_model_score
        return bool(as_good) or super().check_monitor_top_k(trainer, current)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise the alarm when the best weights tell no more than the most frequent class."""
        tell_unlearned(self._best)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing, not even warn, where there was no validation."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the last weights where no validation has chosen any."""
        # Whether there is one, rank 0 decides for all, which take part in saving.
        chosen = self.best_model_score is not None and self.path.exists()
        if not trainer.strategy.broadcast(chosen):
            say("note: no validation has chosen weights: best.ckpt holds the last ones")
            trainer.save_checkpoint(self.path, weights_only=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the folder, which is not empty when a run is continued."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
            super().setup(trainer, pl_module, stage)


def tell_unlearned(figures: Mapping[str, float]) -> None:
    """Say of a split's figures when they are no better than chance."""
    chance = Chance.of_figures(figures)
    if chance and chance.alarm:
        say(
            f"alarm: {chance.words(figures['accuracy'])}: look at images and labels, train longer,"
            " or change model.recipe.lr"
        )


def run_callbacks(folder: Path, figure: str = "accuracy") -> Sequence[pl.Callback]:
    """What a training keeps in its run folder; ``figure`` chooses the best checkpoint."""
    kept = (BestCheckpoint(folder, figure), TestPredictions(folder), TestReport(folder))
    return [TrainingDryPass(folder), *kept, TrainingRecord(folder)]
