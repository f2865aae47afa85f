"""What W&B is told of a training: the architecture it begins with, and the weights it ends with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from retrain.recipe_module import RecipeModule
from supernet.arch_file import is_file_name
from supernet.errors import check_choice
from supernet.files.reading import read_yaml, typed_object
from supernet.tracking.logger import MODES, Wandb, wandb_logger
from supernet.tracking.metrics import wandb_runs
from supernet.tracking.record import log_file, log_files, log_report, use_file


class TrainingRecord(pl.Callback):
    """Joins a training to the search that found its network, and keeps its best weights."""

    def __init__(self, folder: Path) -> None:
        self.weights = folder / "checkpoints" / "best.ckpt"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the architecture, if it is a file."""
        assert isinstance(pl_module, RecipeModule)
        if trainer.is_global_zero and is_file_name(pl_module.arch):
            for run in wandb_runs(trainer):
                use_file(run, "architecture", Path(pl_module.arch))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights, and sum up what the network costs."""
        assert isinstance(pl_module, RecipeModule)
        for run in wandb_runs(trainer) if trainer.is_global_zero else ():
            costs = {name: pl_module.identity[name] for name in ("params", "macs")}
            run.summary.update(costs)
            if self.weights.exists():
                log_file(run, "weights", self.weights, **costs)


def record_export(folder: Path, weights: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell the training's run of W&B which files its weights were shipped as.

    Args:
        folder: of the training, whose config.yaml says whether and where it is tracked.
        weights: the checkpoint that was exported.
        entries: what each file is, by its format, as in export.json.

    Raises:
        UserError: when W&B cannot be reached; the files are whole.
    """
    settings = wandb_settings(folder)
    if settings.mode == "disabled":
        return
    run = wandb_logger(folder, settings, "retrain").experiment
    use_file(run, "weights", weights)
    for name, entry in entries.items():
        figures = {key: entry.get(key) for key in ("bytes", "latency_ms")}
        figures["accuracy"] = entry.get("accuracy", {}).get("accuracy")
        told = {key: value for key, value in figures.items() if value is not None}
        run.summary.update({f"export/{name}/{key}": value for key, value in told.items()})
    files = [folder / str(entry["file"]) for entry in entries.values()]
    log_files(run, "exported", [folder / "export.json", *files])
    log_report(run, folder)
    run.finish()


def wandb_settings(folder: Path) -> Wandb:
    """How a training is tracked, by its config.yaml; not at all where there is none.

    Raises:
        UserError: when the file is broken.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return Wandb(mode="disabled")
    given = typed_object(f"{path}", read_yaml(path, "name the folder of a retraining"))
    section = typed_object(f"{path}: wandb", given.get("wandb", {}))
    settings = Wandb(**{key: section[key] for key in Wandb.__annotations__ if key in section})
    check_choice(f"{path}: wandb.mode", settings.mode, MODES)
    return settings
