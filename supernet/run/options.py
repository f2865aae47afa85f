"""Options of a run that cannot work, or not in this run: refused before its first step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.callbacks import BatchSizeFinder, LearningRateFinder

from supernet.errors import UserError, check_range, one_line
from supernet.run.checkpoints import callbacks_of

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Those under which weights stay in float32: updates of a moving average would be lost in less."""
MatmulPrecision = Literal["highest", "high", "medium"]
"""As in ``torch.set_float32_matmul_precision``."""
LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": -1,
}
"""Least values of a trainer's options, which Lightning takes without a look or fails on later."""
ABOVE_ZERO = ("limit_train_batches", "val_check_interval")
SAME = (
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
    "world_size",
)
"""Properties of a trainer without which a run that is continued is another run: with more processes
a search trains more networks a step, and batch statistics are of fewer images."""
MAY_CHANGE = ("batch_size", "num_workers")
"""Arguments of any data that may change: the images of a step over all processes are compared where
their order is restored."""


def check_trainer_options(trainer: Namespace) -> None:
    """Refuse numbers among a config's trainer options with which Lightning fails later, or never.

    Raises:
        UserError: naming the option.
    """
    for name, least in LEAST.items():
        check_range("trainer.", trainer, name, least=least)
    for name in ABOVE_ZERO:
        if isinstance(trainer[name], (int, float)):
            check_range("trainer.", trainer, name, above=0)
    if trainer.max_epochs == 0:
        raise UserError("trainer.max_epochs is 0, it must be at least 1, or -1 for no limit")
    if trainer.fast_dev_run:
        raise UserError(
            "trainer.fast_dev_run keeps no record of a run: use --dry_run or trainer.max_steps"
        )


def check_trainer(trainer: pl.Trainer, precision: object, metrics: Sequence[str]) -> None:
    """Refuse what a trainer cannot do, or would quietly do in another way.

    Args:
        trainer: as it was built.
        precision: what was asked for.
        metrics: names of all that the module logs for callbacks to monitor.

    Raises:
        UserError: naming the option, and what may be given.
    """
    asked = _spelled(precision)
    if trainer.precision not in PRECISIONS or trainer.precision != asked:
        allowed = ", ".join(PRECISIONS)
        why = (
            f"this accelerator would take {trainer.precision} instead"
            if asked in PRECISIONS
            else f"allowed are {allowed}, under which weights stay in float32"
        )
        raise UserError(f"trainer.precision is {precision}: {why}: give another")
    for callback in callbacks_of(trainer):
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if isinstance(callback, (LearningRateFinder, BatchSizeFinder)):
            raise UserError(
                f"trainer.callbacks: {name} makes steps of its own, with which no run could be"
                " repeated or continued: leave it out"
            )
        if monitor is not None and monitor not in metrics:
            known = ", ".join(metrics) or "none, as a search logs by itself"
            raise UserError(
                f"trainer.callbacks: {name} monitors {monitor!r}, which this run does not log;"
                f" allowed are: {known}"
            )


def _spelled(precision: object) -> str:
    """A precision as a trainer spells it."""
    short = {"None": "32-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
    return short.get(str(precision), str(precision))


def training_loader(trainer: pl.Trainer) -> Any:
    """The loader of a training that begins, which Lightning makes late where max_steps ends it.

    Raises:
        UserError: when the trainer's options do not fit its length.
    """
    try:
        trainer.fit_loop.setup_data()
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"trainer: {one_line(error)}") from None
    return trainer.train_dataloader


def expanded(value: Any) -> Any:
    """A setting, or the settings in it, with ``~`` at the beginning of a path made one's home."""
    if isinstance(value, (dict, Namespace)):
        for name, one in list(value.items()):
            value[name] = expanded(one)
    elif isinstance(value, list):
        return [expanded(one) for one in value]
    elif isinstance(value, str):
        scheme, separator, path = value.rpartition("supernet:")
        if path == "~" or path.startswith("~/"):
            return f"{scheme}{separator}{Path(path).expanduser()}"
    return value


def set_matmul_precision(precision: MatmulPrecision) -> None:
    """Have GPUs multiply and convolve float32 in full (``highest``), or in TF32.

    PyTorch itself convolves in TF32 and multiplies in full.
    """
    if torch.cuda.is_available():  # on CPUs nothing changes
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"


def refuse_change(setting: str, saved: object, given: object, verb: str = "has") -> None:
    """Compare a setting with that of the run to continue.

    Raises:
        UserError: when they differ.
    """
    if saved != given:
        raise UserError(
            f"{setting} is {given}, but the run to continue {verb} {saved}: continue it unchanged"
            " or start a new --run"
        )


def data_options(data: dict[str, Any], inner: pl.LightningDataModule) -> dict[str, Any]:
    """The class and the arguments of a run's data that it must keep, by their options.

    Args:
        data: the section of a config as plain values, defaults filled in.
        inner: the datamodule itself, whose ``may_change`` names arguments that change no training.
    """
    free = {*MAY_CHANGE, *getattr(inner, "may_change", ())}
    arguments = data.get("init_args", {})
    kept = {name: value for name, value in arguments.items() if name not in free}
    return _flat("data", {**data, "init_args": kept})


def _flat(place: str, value: Any) -> dict[str, Any]:
    """Values that are no mapping by the place of each in those that are."""
    if not isinstance(value, dict):
        return {place: value}
    parts = [_flat(f"{place}.{name}", one) for name, one in value.items()]
    return {name: one for part in parts for name, one in part.items()}


class SameOptions(pl.Callback):
    """Keeps in checkpoints the options that a run must keep, and refuses to continue with others.

    Every step would be computed in another way, while config.yaml told of the new options alone.

    Args:
        options: of the run, but for the trainer's, such as its data's (``data_options``).
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = dict(options)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take note of the trainer's options, before a checkpoint is read."""
        self.options |= {f"trainer.{name}": getattr(trainer, name) for name in SAME}

    def state_dict(self) -> dict[str, Any]:
        """The options, as plain values."""
        return dict(self.options)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare them with those of the run to continue.

        Raises:
            UserError: naming the option and both values.
        """
        for name, saved in state_dict.items():
            # Runs that began before the data's were kept have the trainer's alone.
            option = name if "." in name or name in self.options else f"trainer.{name}"
            refuse_change(option, saved, self.options.get(option, saved))
