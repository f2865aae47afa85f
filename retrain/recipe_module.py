"""RecipeModule: what every training of one network by a recipe shares."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl
from timm.utils import distribute_bn
from torch import Tensor, nn

from retrain.warm_start import WarmStart
from supernet.arch_file import load_spec
from supernet.data.resumable import StepLoader
from supernet.errors import UserError
from supernet.space.spec import NetSpec
from supernet.training.recipe import Recipe, WeightEma


class RecipeModule(pl.LightningModule):
    """Trains ``network``, which a subclass builds from ``spec``, by a recipe.

    A run can be stopped and continued: the learning rate is a function of the step, and a
    checkpoint that holds another network or another recipe is refused.
    """

    network: nn.Module
    """What is trained, averaged and saved."""
    warm_start: WarmStart
    """What gives it its first weights."""

    def __init__(
        self, arch: str, num_classes: int, resolution: int, stem_stride: int, recipe: Recipe
    ) -> None:
        """Find the architecture.

        Args:
            arch: an arch.json that a search wrote, or the name of a published network.
            num_classes: of the data; the architecture's own number gives way.
            resolution: of the data, px; the architecture's own gives way.
            stem_stride: stride of the first convolution; the architecture's own gives way.
            recipe: how it is trained.

        Raises:
            UserError: when ``arch`` is neither a valid file nor a published name.
        """
        super().__init__()
        self.arch = arch
        self.recipe = recipe
        self.found = load_spec(arch)
        self.spec = self.found.scaled(
            resolution=resolution, classes=num_classes, stem_stride=stem_stride
        )
        self.steps_done = 0
        """Training batches that this process has consumed: its place in the data."""

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """Loss of one batch, a scalar."""

    def configure_callbacks(self) -> list[pl.Callback]:
        """What averages the weights, and what sets the first ones."""
        device = self.trainer.strategy.root_device
        decay = self.recipe.ema_decay
        callbacks: list[pl.Callback] = [WeightEma(decay, device)] if decay else []
        return callbacks if self.warm_start.init == "scratch" else [*callbacks, self.warm_start]

    def configure_optimizers(self) -> Any:
        """The recipe's optimizer; its learning rate is set before every step.

        The schedule is not handed to Lightning: as a function of the step it has no state, so that
        a run that is continued with more epochs has the learning rates of the longer run.

        Raises:
            UserError: when the training has no end.
        """
        num_steps = self.trainer.estimated_stepping_batches
        if not 0 < num_steps < math.inf:
            raise UserError(
                f"the training has {num_steps} steps: give trainer.max_epochs or trainer.max_steps"
                " above 0"
            )
        optimizer = self.recipe.make_optimizer(self.network, images_per_step(self.trainer))
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        self._schedule = self.recipe.make_schedule(optimizer, int(num_steps), steps_per_epoch)
        return optimizer

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the step's learning rate."""
        self._schedule.step_update(self.trainer.global_step)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.training_loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        self.log("lr", self._schedule.optimizer.param_groups[0]["lr"])
        self.steps_done += 1
        return loss

    def on_validation_epoch_start(self) -> None:
        """Give all processes the mean of their batch-norm statistics."""
        # The averaged weights are in place by now, so that these are what is saved.
        if self.trainer.world_size > 1:
            distribute_bn(self.network, self.trainer.world_size, reduce=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the network and what a continued run must share."""
        checkpoint["spec"] = self.spec.to_json()
        checkpoint["arch"] = self.arch
        checkpoint["init"] = self.warm_start.init
        checkpoint["recipe"] = dataclasses.asdict(self.recipe)
        checkpoint["steps_done"] = self.steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on in the data where the checkpoint was.

        Raises:
            UserError: when it holds another network, other first weights or another recipe.
        """
        if checkpoint.get("spec") != self.spec.to_json():
            raise UserError(
                f"the checkpoint holds another network ({checkpoint.get('arch')}) than"
                f" {self.arch} at {self.spec.resolution} px and {self.spec.classes} classes:"
                " give the run's own --model.arch and data, or start a new --run"
            )
        if self._trainer is not None and self._trainer.training:
            _refuse_another_init(checkpoint.get("init", "scratch"), self.warm_start.init)
            refuse_another("recipe", checkpoint["recipe"], dataclasses.asdict(self.recipe))
        self.steps_done = checkpoint["steps_done"]


def place(arch: str, found: NetSpec, spec: NetSpec) -> str:
    """What the data decide of a network, and which of the architecture's own values gave way."""
    names = ("resolution", "classes", "stem_stride")
    changed = [
        f"{name} {getattr(found, name)}"
        for name in names
        if getattr(found, name) != getattr(spec, name)
    ]
    note = f" (the data's values; {arch} itself has {', '.join(changed)})" if changed else ""
    return f"{spec.resolution} px, {spec.classes} classes, stem stride {spec.stem_stride}{note}"


def images_per_step(trainer: pl.Trainer) -> int:
    """Images of one optimizer step over all processes and accumulated batches."""
    # Lightning has no loader yet where max_steps alone ends the training.
    trainer.fit_loop.setup_data()
    loader: Any = trainer.train_dataloader
    if isinstance(loader, StepLoader):
        images = loader.sampler.global_batch_size
    else:
        images = loader.batch_size * trainer.world_size
    return images * trainer.accumulate_grad_batches


def _refuse_another_init(saved: str, given: str) -> None:
    # Nothing is loaded again, but the run's config.yaml would tell of weights it never had.
    if saved != given:
        raise UserError(
            f"init is {given}, but the run to continue started from {saved}: continue it unchanged"
            " or start a new --run"
        )


def refuse_another(group: str, saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Compare a group of settings with those of the checkpoint's run.

    Raises:
        UserError: naming the first setting that differs.
    """
    for name, value in given.items():
        if saved.get(name) != value:
            raise UserError(
                f"{group}.{name} is {value}, but the run to continue has {saved.get(name)}:"
                " continue it unchanged or start a new --run"
            )
