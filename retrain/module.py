"""RetrainModule: trains one architecture, from scratch unless told otherwise."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytorch_lightning as pl
import torch
from timm.utils import distribute_bn
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from supernet.archfile import load_spec
from supernet.cost import count
from supernet.errors import UserError
from supernet.loading import StepLoader
from supernet.spec import NetSpec
from supernet.standalone import PAPER, Recipe, WeightEma
from supernet.warm_start import WarmStart, say

Batch = tuple[Tensor, Tensor]
"""Images (B, 3, R, R) and labels (B,)."""


class RetrainModule(pl.LightningModule):
    """One network, trained by a recipe."""

    def __init__(
        self,
        arch: str,
        num_classes: int,
        resolution: int,
        stem_stride: int,
        recipe: Recipe = PAPER,
        init: str = "scratch",
    ) -> None:
        """Build the network with fresh weights; others replace them when a training starts.

        Args:
            arch: an arch.json that a search wrote, or the name of a published network.
            num_classes: of the data; the architecture's own number gives way.
            resolution: of the data, px; the architecture's own gives way.
            stem_stride: stride of the first convolution; the architecture's own gives way.
            recipe: how it is trained.
            init: what the first weights are: scratch (fresh ones); timm (those that timm has of a
                published network); or supernet:FILE (those that the search which found ``arch``
                shared, from its checkpoint).

        Raises:
            UserError: when ``arch`` is neither a valid file nor a published name, or has no weights
                such as ``init`` asks for.
        """
        super().__init__()
        self.arch = arch
        self.recipe = recipe
        self.found = load_spec(arch)
        self.spec = self.found.scaled(
            resolution=resolution, classes=num_classes, stem_stride=stem_stride
        )
        self.warm_start = WarmStart(init, arch)
        self.network = recipe.make_network(self.spec)
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.steps_done = 0
        """Training batches that this process has consumed: its place in the data."""

    def setup(self, stage: str) -> None:
        """Say what is trained, and what the data changed in it."""
        if stage == "fit":
            say(describe(self.arch, self.found, self.spec, self.warm_start.origin))

    def configure_callbacks(self) -> list[pl.Callback]:
        """What averages the weights, and what sets the first ones."""
        device = self.trainer.strategy.root_device
        decay = self.recipe.ema_decay
        callbacks: list[pl.Callback] = [WeightEma(decay, device)] if decay else []
        return callbacks if self.warm_start.init == "scratch" else [*callbacks, self.warm_start]

    def configure_optimizers(self) -> torch.optim.Optimizer:
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

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) to logits (B, classes)."""
        # Here and not in a transfer hook, which a user's datamodule may take over.
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the step's learning rate."""
        self._schedule.step_update(self.trainer.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        images, labels = batch
        loss = self.recipe.loss(self(images), labels)
        self.log("train/loss", loss, prog_bar=True)
        self.log("lr", self._schedule.optimizer.param_groups[0]["lr"])
        self.steps_done += 1
        return loss

    def on_validation_epoch_start(self) -> None:
        """Give all processes the mean of their batch-norm statistics."""
        # The averaged weights are in place by now, so that these are what is saved.
        if self.trainer.world_size > 1:
            distribute_bn(self.network, self.trainer.world_size, reduce=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one validation batch."""
        self._evaluate(batch, "val", self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one test batch."""
        self._evaluate(batch, "test", self.test_accuracy)
        images = float(len(batch[1]))
        self.log("test/images", images, on_epoch=True, reduce_fx="sum", sync_dist=True)

    def _evaluate(self, batch: Batch, part: str, accuracy: MulticlassAccuracy) -> None:
        images, labels = batch
        logits = self(images)
        accuracy.update(logits, labels)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{part}/loss", loss, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.log(f"{part}/accuracy", accuracy, on_epoch=True, prog_bar=True)

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
            _refuse_another_recipe(checkpoint["recipe"], dataclasses.asdict(self.recipe))
        self.steps_done = checkpoint["steps_done"]


def describe(arch: str, found: NetSpec, spec: NetSpec, origin: str = "from scratch") -> str:
    """One line: the network's size, and which of the architecture's own values gave way."""
    cost = count(spec)
    names = ("resolution", "classes", "stem_stride")
    changed = [f"{name} {getattr(found, name)}" for name in names
               if getattr(found, name) != getattr(spec, name)]  # fmt: skip
    note = f" (the data's values; {arch} itself has {', '.join(changed)})" if changed else ""
    return (
        f"training {arch} {origin}: {cost.params:,} parameters, {cost.macs / 1e6:.1f}M MACs at"
        f" {spec.resolution} px, {spec.classes} classes, stem stride {spec.stem_stride}{note}"
    )


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


def _refuse_another_recipe(saved: dict[str, Any], given: dict[str, Any]) -> None:
    for name, value in given.items():
        if saved.get(name) != value:
            raise UserError(
                f"recipe.{name} is {value}, but the run to continue has {saved.get(name)}:"
                " continue it unchanged or start a new --run"
            )
