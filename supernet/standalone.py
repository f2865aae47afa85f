"""How one network is trained from scratch: optimizer, schedule, loss and average of the weights.

``retrain`` runs this recipe, and so does whatever ranks networks by training each of them alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from timm.optim import list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from supernet.errors import UserError
from supernet.loading import resumable
from supernet.network import Network
from supernet.optimizer import make_optimizer
from supernet.spec import NetSpec


@dataclass(frozen=True)
class Recipe:
    """Everything about training but the data and its length.

    The defaults are those of MnasNet, sec. 5, and of the official code (tensorflow/tpu,
    models/official/mnasnet): 350 epochs of 4,096 images a step, at lr 0.256.

    Raises:
        UserError: naming the value that is out of range.
    """

    optimizer: str = "rmsproptf"
    """Name of an optimizer of timm: rmsproptf, adamw, sgd (with Nesterov momentum), ..."""
    lr: float = 0.016
    """Peak learning rate for 256 images a step; it grows linearly with the images that all
    processes and accumulated batches of one step hold together."""
    momentum: float = 0.9
    """Of optimizers that have it."""
    eps: float = 1e-3
    """Added to the optimizer's denominator; 0 leaves the optimizer its own, if it has one."""
    weight_decay: float = 1e-5
    """Of convolution and classifier weights; norms and biases have none."""
    schedule: Literal["step", "cosine"] = "step"
    """step: times decay_rate every decay_epochs. cosine: down to 0 at the last step."""
    warmup: float = 5 / 350
    """Share of all steps in which the learning rate rises linearly from 0."""
    decay_epochs: float = 2.4
    """Epochs between two decays of the step schedule, counted from the first step."""
    decay_rate: float = 0.97
    """Factor of each decay of the step schedule."""
    ema_decay: float = 0.9999
    """Of the average of the weights, which is what is evaluated and shipped; 0 is off. Until step
    n reaches it, the decay is (1 + n) / (10 + n)."""
    bn_momentum: float = 0.01
    """Share of each batch in the running statistics of batch norms; trainings of less than some
    1,000 steps need more, lest the statistics lag behind the weights."""
    dropout: float = 0.2
    """Probability in front of the classifier."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes, in training only."""

    def __post_init__(self) -> None:
        """Refuse what no training can mean."""
        shares = ("momentum", "warmup", "ema_decay", "bn_momentum", "dropout", "label_smoothing")
        self._check(shares, lambda value: 0 <= value < 1, "in [0, 1)")
        self._check(("lr", "decay_epochs", "decay_rate"), lambda value: value > 0, "above 0")
        self._check(("eps", "weight_decay"), lambda value: value >= 0, "at least 0")
        if self.schedule not in ("step", "cosine"):
            raise UserError(f"recipe.schedule is {self.schedule!r}, allowed are step, cosine")

    def _check(self, names: Sequence[str], allows: Callable[[float], bool], words: str) -> None:
        for name in names:
            if not allows(getattr(self, name)):
                raise UserError(f"recipe.{name} is {getattr(self, name)}, it must be {words}")

    def make_network(self, spec: NetSpec) -> Network:
        """The network of ``spec`` with fresh weights, in the memory format that trains fastest."""
        network = Network(replace(spec, bn_momentum=self.bn_momentum), self.dropout)
        # Depthwise convolutions run several times faster so, on CPUs and in bf16 on GPUs.
        return network.to(memory_format=torch.channels_last)

    def make_optimizer(self, network: nn.Module, images_per_step: int) -> torch.optim.Optimizer:
        """The optimizer at its peak learning rate.

        Args:
            network: what it updates.
            images_per_step: images of one step, over all processes and accumulated batches.

        Raises:
            UserError: when timm has no such optimizer.
        """
        extra: dict[str, Any] = {"eps": self.eps} if self.eps else {}
        try:
            return make_optimizer(
                network,
                self.optimizer,
                lr=self.lr * images_per_step / 256,
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                **extra,
            )
        except ValueError:
            known = ", ".join(map(str, list_optimizers()))
            raise UserError(
                f"recipe.optimizer is {self.optimizer!r}, allowed are {known}"
            ) from None

    def make_schedule(
        self, optimizer: torch.optim.Optimizer, num_steps: int, steps_per_epoch: float
    ) -> Scheduler:
        """The learning rate as a function of the step: call ``step_update(step)`` before each.

        Args:
            optimizer: at its peak learning rate.
            num_steps: optimizer steps of the whole training.
            steps_per_epoch: optimizer steps of one epoch.
        """
        schedule, _ = create_scheduler_v2(
            optimizer,
            sched=self.schedule,
            num_epochs=num_steps,
            decay_epochs=self.decay_epochs * steps_per_epoch,
            decay_rate=self.decay_rate,
            warmup_epochs=round(self.warmup * num_steps),
            warmup_lr=0.0,
            step_on_epochs=False,
            updates_per_epoch=1,  # so that the epochs above are steps
        )
        return schedule

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Training loss of logits (B, classes) and labels (B,)."""
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


PAPER = Recipe()
"""MnasNet's own."""


class WeightEma(WeightAveraging):
    """Exponential moving average of weights and batch-norm statistics, for all but training.

    Differs from Lightning's ``EMAWeightAveraging`` in three ways. The decay is warmed up as in
    TensorFlow (``ExponentialMovingAverage(num_updates=...)``, as the official code uses it), so
    that the average of a short training is not that of its first steps. It lies on the device of
    training, where Lightning leaves it on the CPU. And a test that follows ``fit`` in one process
    loads the average from a checkpoint, not the weights that were being trained.
    """

    def __init__(self, decay: float, device: torch.device) -> None:
        """Average with ``decay`` per step, on ``device``."""
        super().__init__(device=device, multi_avg_fn=functools.partial(update_average, decay))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore both sets of weights to go on training; evaluation has loaded the average."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


@torch.no_grad()
def update_average(
    decay: float, averages: list[Tensor], values: list[Tensor], num_averaged: Tensor
) -> None:
    """Move ``averages`` towards ``values``, in place.

    Args:
        decay: share of the average that stays, once ``num_averaged`` is large.
        averages: tensors of one type.
        values: tensors of the same shapes and type.
        num_averaged: updates before this one.
    """
    if not averages[0].is_floating_point():
        for average, value in zip(averages, values, strict=True):
            average.copy_(value)
        return
    updates = float(num_averaged)
    weight = 1 - min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(averages, values, weight)


def train_alone(
    spec: NetSpec,
    recipe: Recipe,
    loader: DataLoader[Any],
    seed: int,
    num_steps: int,
    advance: Callable[[], object] = lambda: None,
) -> Network:
    """Train one network from scratch in this process, as a retraining does, without its overhead.

    A function of the arguments: neither earlier draws nor this process's state change the result,
    and torch's global generator is as it was afterwards.

    Args:
        spec: what to train, at the data's resolution and classes.
        recipe: how.
        loader: of the training images; its order is replaced by one of ``seed``.
        seed: of weights, order, augmentation and dropout; not negative.
        num_steps: optimizer steps.
        advance: called after each step.

    Returns:
        The network in eval mode; its weights are the recipe's average, if it has one.
    """
    batches = resumable(loader, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recipe.make_network(spec).train()
        optimizer = recipe.make_optimizer(network, batches.sampler.global_batch_size)
        schedule = recipe.make_schedule(optimizer, num_steps, len(batches))
        average = _average(network, recipe.ema_decay)
        endless = itertools.chain.from_iterable(itertools.repeat(batches))
        for step, (images, labels) in enumerate(itertools.islice(endless, num_steps)):
            schedule.step_update(step)
            logits = network(images.contiguous(memory_format=torch.channels_last))
            recipe.loss(logits, labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if average:
                average.update_parameters(network)
            advance()
    return cast(Network, average.module if average else network).eval()


def _average(network: Network, decay: float) -> AveragedModel | None:
    if not decay:
        return None
    step = functools.partial(update_average, decay)
    return AveragedModel(network, multi_avg_fn=step, use_buffers=True)


class Evaluation(NamedTuple):
    """What a network is worth on some images."""

    accuracy: float
    """Share of correct answers."""
    loss: float
    """Mean cross-entropy, in nats."""
    probability: float
    """Mean probability of the right class."""
    soft_accuracy: float
    """Mean of ``soft_accuracies``."""


def right_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the right class of each image, (B,), from logits (B, classes)."""
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


SHARPNESS = 4.0
"""Factor of the logits in a soft accuracy. At 1 shared weights, which are sure of nothing, make all
networks nearly alike, so that a reward would be of cost alone; the more it is, the nearer to the
accuracy and its noise (docs/search-quality.md)."""


def soft_accuracies(logits: Tensor, labels: Tensor) -> Tensor:
    """Right (1), wrong (0) or between, where it is close: (B,), from logits (B, classes)."""
    return right_probabilities(SHARPNESS * logits, labels)


@torch.no_grad()
def evaluate(network: Network, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Evaluate a network in eval mode over batches of images (B, 3, R, R) and labels (B,)."""
    network.eval()
    right = total = 0
    loss = probability = soft = 0.0
    for images, labels in batches:
        # Autocast on CPUs would leave probabilities in bfloat16.
        logits = network(images.contiguous(memory_format=torch.channels_last)).float()
        right += int((logits.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        probability += float(right_probabilities(logits, labels).sum())
        soft += float(soft_accuracies(logits, labels).sum())
        total += len(labels)
    return Evaluation(right / total, loss / total, probability / total, soft / total)
