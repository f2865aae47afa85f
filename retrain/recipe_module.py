"""RecipeModule: what every training of one network by a recipe shares."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, WeightAveraging
from pytorch_lightning.plugins import MixedPrecision
from timm.utils import distribute_bn
from torch import Tensor, nn
from torch.utils.data import Dataset

from retrain.warm_start import WarmStart, load_by_name
from supernet.arch_file import is_file_name, load_spec
from supernet.command.output import say
from supernet.cost.counts import count
from supernet.data.resumable import StepLoader
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.run.finite import FiniteGuard, scales_loss
from supernet.run.options import refuse_change, training_loader
from supernet.training.recipe import Recipe, check_batch_size
from supernet.training.weight_average import WeightEma

UNSET = "its default"
"""In place of a setting that a run leaves alone."""


class RecipeModule(pl.LightningModule):
    """Trains ``network``, which a subclass builds from ``spec``, by a recipe.

    A run can be stopped and continued: the learning rate is a function of the step, and a
    checkpoint that holds another network or another recipe is refused.
    """

    network: nn.Module
    """What is trained, averaged and saved."""
    metrics: tuple[str, ...] = ("train/loss", "lr", "train/skipped")
    """Names of what callbacks may monitor."""
    warm_start: WarmStart
    """Where its first weights come from."""

    def __init__(
        self, arch: str, num_classes: int, resolution: int, stem_stride: int, recipe: Recipe
    ) -> None:
        super().__init__()
        self.arch = arch
        self.recipe = recipe
        self.found = load_spec(arch)
        self.spec = self.found.scaled(
            resolution=resolution, classes=num_classes, stem_stride=stem_stride
        )
        self.compiles = False
        """Whether torch.compile makes the passes of a training."""
        self.steps_done = 0
        """Training batches that this process has consumed: its place in the data."""
        self._step_tested = 0

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """Loss of one batch, a scalar."""

    @abstractmethod
    def evaluate(self, batch: Any, split: str) -> Tensor | None:
        """Measure one batch of the split ``val`` or ``test``; a classifier's logits."""

    @abstractmethod
    def first_line(self) -> str:
        """What is trained, and what the data changed in it."""

    def training_view(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """Training images as the recipe augments them, of a run's own ones."""
        trainer: Any = self.trainer
        return self.recipe.augmentation.of_images(dataset, trainer.datamodule.preprocessing)

    @property
    def identity(self) -> dict[str, Any]:
        """The network that is trained and what it costs, as plain values."""
        size = count(self.spec)
        return {"spec": asdict(self.spec), "params": size.params, "macs": size.macs}

    @property
    def learned_from(self) -> Sequence[str]:
        """Files of earlier runs whose images this network owes something to."""
        named = [self.arch] if is_file_name(self.arch) else []
        init = self.warm_start.supernet or self.warm_start.init
        return [*named, init] if init.endswith(".ckpt") else named

    def warm_part(self) -> nn.Module:
        """The layers of ``network`` that first weights are for."""
        return self.network

    def setup(self, stage: str) -> None:
        """Say what is trained, and have its images augmented."""
        if stage != "fit":
            return
        say(self.first_line())
        if words := self.recipe.augmentation.words:
            say(f"augmentation: {words}")
        trainer: Any = self.trainer
        if isinstance(trainer.datamodule, RunData):
            trainer.datamodule.training_view = self.training_view

    def configure_callbacks(self) -> list[pl.Callback]:
        """What averages the weights."""
        decay = self.recipe.ema_decay
        return [WeightEma(decay, self.trainer.strategy.root_device)] if decay else []

    def on_fit_start(self) -> None:
        """Give the network its first weights, and the average of the weights too.

        A run that goes on has its weights from its checkpoint, and so has a test: neither reads a
        file or the network connection.
        """
        # Lightning knows only from here on whether it continues a run; by now the averages have
        # copied the network as it was, and take what they would take from a checkpoint.
        trainer: Any = self.trainer
        weights = {} if trainer.ckpt_path else self.warm_start.weights()
        if not weights:
            return
        load_by_name(weights, self.warm_part())
        state = self.state_dict()
        first = {
            "state_dict": state,
            "current_model_state": state,
            "averaging_state": {"n_averaged": torch.tensor(0)},
        }
        for callback in trainer.callbacks:
            if isinstance(callback, WeightAveraging):
                callback.on_load_checkpoint(trainer, self, first)

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
        images = images_per_step(self.trainer)
        optimizer = self.recipe.make_optimizer(self.network, images, may_fuse(self.trainer))
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        self._schedule = self.recipe.make_schedule(optimizer, int(num_steps), steps_per_epoch)
        return optimizer

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the step's learning rate; weigh a supernet's first batches alike in batch norms.

        A supernet keeps no batch-norm statistics, and training gathers them: they are the mean over
        the first batches until ``bn_momentum`` is reached, so that nothing is left of a fresh
        network's mean 0 and variance 1, which would spoil the evaluations of a short training.
        """
        self._schedule.step_update(self.trainer.global_step)
        if not self.has_steady_norms:
            momentum = max(self.recipe.bn_momentum, 1 / (self.steps_done + 1))
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.momentum = momentum

    @property
    def has_steady_norms(self) -> bool:
        """Whether batch norms weigh this step as all that follow, which compiled passes need."""
        momentum = self.recipe.bn_momentum
        return not self.warm_start.supernet or momentum * self.steps_done >= 1

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.training_loss(batch)
        self.log("train/loss", loss)
        lr, skipped = self._schedule.optimizer.param_groups[0]["lr"], FiniteGuard.of(self.trainer)
        # As tensors in host memory: Lightning would send plain numbers to a GPU, and wait for it.
        self.log("lr", torch.tensor(lr, dtype=torch.float32))
        self.log("train/skipped", torch.tensor(float(skipped.steps)))
        self.steps_done += 1
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate one validation batch."""
        self.evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Evaluate one test batch and count its images; a classifier's logits."""
        logits = self.evaluate(batch, "test")
        images = float(len(batch[0]))
        self.log("test/images", images, on_epoch=True, reduce_fx="sum", sync_dist=True)
        # Lightning's name for the step of a row: a test itself has none, and would write step 0.
        step = float(self._step_tested)
        self.log("step", step, on_epoch=True, sync_dist=True, batch_size=len(batch[0]))
        return logits

    def on_validation_epoch_start(self) -> None:
        """Give all processes the mean of their batch-norm statistics."""
        # The averaged weights are in place by now, so that these are what is saved.
        if self.trainer.world_size > 1:
            distribute_bn(self.network, self.trainer.world_size, reduce=True)

    def on_validation_end(self) -> None:
        """Give all processes the first one's batch-norm statistics to train on with."""
        # DDP does so before each step, but not before one that follows a validation: a run that is
        # continued there, from a checkpoint of the first process, would differ.
        if self.trainer.world_size > 1:
            distribute_bn(self.network, self.trainer.world_size, reduce=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the network and what a continued run must share."""
        checkpoint["spec"] = self.spec.to_json()
        checkpoint["arch"] = self.arch
        checkpoint["init"] = self.warm_start.init
        checkpoint["recipe"] = self.recipe.as_values()
        checkpoint["steps_done"] = self.steps_done
        FiniteGuard.of(self.trainer).check_checkpoint(self.trainer, checkpoint)

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
            # No weight is loaded again, but config.yaml would tell of weights it never had.
            saved_init = checkpoint.get("init", "scratch")
            refuse_change("init", saved_init, self.warm_start.init, "started from")
            saved, own = checkpoint["recipe"], self.recipe.as_values()
            for name in [*own, *saved]:
                refuse_change(f"recipe.{name}", saved.get(name, UNSET), own.get(name, UNSET))
        self.steps_done = checkpoint["steps_done"]
        # Steps count from 0.
        self._step_tested = max(0, checkpoint["global_step"] - 1)

    def given_by_data(self) -> str:
        """What the data decide of the network, and which of the architecture's values gave way."""
        spec, found = self.spec, self.found
        changed = [
            f"{name} {getattr(found, name)}"
            for name in ("resolution", "classes", "stem_stride")
            if getattr(found, name) != getattr(spec, name)
        ]
        own = f"{self.arch} itself has {', '.join(changed)}"
        note = f" (the data's values; {own})" if changed else ""
        return f"{spec.resolution} px, {spec.classes} classes, stem stride {spec.stem_stride}{note}"


class StopEarly(EarlyStopping):
    """Lightning's early stopping, which a run that goes on remembers.

    The patience is that of today's command, so that a run that has ended goes on with a longer one.
    """

    def __init__(self, figure: str, patience: int) -> None:
        """``patience`` counts validations in which ``val/figure`` does not rise."""
        super().__init__(
            f"val/{figure}", mode="max", patience=patience, check_on_train_epoch_end=False
        )

    @property
    def has_ended(self) -> bool:
        """Whether patience is at an end."""
        return self.wait_count >= self.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End at once what had ended already."""
        trainer.should_stop = trainer.should_stop or self.has_ended

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say why the training has ended before its last step."""
        if self.has_ended:
            done, of = trainer.global_step, int(trainer.estimated_stepping_batches)
            say(
                f"stopped early, after {done:,} of {of:,} steps: {self.monitor} has not risen for"
                f" {self.wait_count} validations"
            )


def may_fuse(trainer: pl.Trainer) -> bool:
    """Whether an optimizer may step in one kernel, which unscales gradients itself.

    Scaled ones would be clipped before that. Lightning takes those of bf16-mixed for scaled, too.
    """
    mixed = isinstance(trainer.precision_plugin, MixedPrecision)
    return not scales_loss(trainer) and not (mixed and trainer.gradient_clip_val)


def images_per_step(trainer: pl.Trainer) -> int:
    """Images of one optimizer step over all processes and accumulated batches.

    Raises:
        UserError: when a batch has one image only.
    """
    loader = training_loader(trainer)
    each: int = (loader.sampler if isinstance(loader, StepLoader) else loader).batch_size
    check_batch_size(each)
    return each * trainer.world_size * trainer.accumulate_grad_batches
