"""Recipe: how a network is trained from scratch."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from timm.optim import create_optimizer_v2, get_optimizer_class, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from supernet.errors import UserError, check_choice, check_range
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.training.augmentation import Augmentation, mixed

EXACT_FOREACH = ("rmsproptf", "lion", "nadamw")
"""Optimizers of timm that step over lists of tensors to the bits of a loop over them, on CPUs too;
on GPUs timm does so by itself."""


FUSED_DEVICES = ("cpu", "cuda")
"""Devices on which torch steps over all tensors in one kernel: on CPUs in a third of the time of a
loop over them, torch's default there, which is a tenth of a small network's step."""


def make_optimizer(
    module: nn.Module, name: str, *, fused: bool = True, **settings: Any
) -> Optimizer:
    """Timm's ``create_optimizer_v2``, in the fastest way that it has for the device.

    ``module`` lies on the device of its training. Where losses are scaled (16-mixed) it must not be
    ``fused``: such optimizers unscale gradients themselves, after they have been clipped.

    Raises:
        ValueError: when timm has no such optimizer, or it refuses its settings.
    """
    kind = inspect.signature(get_optimizer_class(name, bind_defaults=False))
    device = next(module.parameters()).device.type
    if "fused" in kind.parameters and device in FUSED_DEVICES:
        settings["fused"] = fused
    elif name in EXACT_FOREACH and device == "cpu":
        settings["foreach"] = True
    return create_optimizer_v2(module, name, **settings)


def check_batch_size(num_images: int, setting: str = "data.init_args.batch_size") -> None:
    """Refuse batches of one image, whose maps of one pixel leave batch norm nothing to average.

    ``num_images`` are those of one process, which ``setting`` says.

    Raises:
        UserError: naming the setting.
    """
    if num_images < 2:
        raise UserError(
            f"a batch has {num_images} image, but maps of one pixel leave batch norm nothing to"
            f" average: set {setting} to at least 2"
        )


@dataclass(frozen=True)
class Recipe:
    """Everything about training but the data and its length.

    The defaults are those of MnasNet, sec. 5, and of the official code (tensorflow/tpu,
    models/official/mnasnet): 350 epochs of 4,096 images a step, at lr 0.256.

    Raises:
        UserError: naming the value that is out of range.

    Examples:
        >>> Recipe(optimizer="adamw", lr=2e-3, schedule="cosine").dropout
        0.2
        >>> Recipe(dropout=1.5)
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: recipe.dropout is 1.5, it must be at least 0 and below 1
    """

    optimizer: str = "rmsproptf"
    """Name of an optimizer of timm: rmsproptf, adamw, sgd (with Nesterov momentum), ..."""
    lr: float = 0.016
    """Peak learning rate for 256 images a step; it grows linearly with the images that all
    processes and accumulated batches of one step hold together."""
    momentum: float = 0.9
    """Momentum of optimizers that have it."""
    eps: float = 1e-3
    """Added to the optimizer's denominator; 0 leaves the optimizer its own, if it has one."""
    weight_decay: float = 1e-5
    """Decay of convolution and classifier weights; norms and biases have none."""
    schedule: Literal["step", "cosine"] = "step"
    """step: times decay_rate every decay_epochs. cosine: down to 0 at the last step."""
    warmup: float = 5 / 350
    """Share of all steps in which the learning rate rises linearly from 0."""
    decay_epochs: float = 2.4
    """Epochs between two decays of the step schedule, counted from the first step."""
    decay_rate: float = 0.97
    """Factor of each decay of the step schedule."""
    ema_decay: float = 0.9999
    """Decay of the average of the weights, which is evaluated and shipped; 0 is off. Until step n
    reaches it, it is (1 + n) / (10 + n)."""
    bn_momentum: float = 0.01
    """Share of each batch in the running statistics of batch norms; trainings of less than some
    1,000 steps need more, lest the statistics lag behind the weights."""
    dropout: float = 0.2
    """Probability in front of the classifier."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes, in training only."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """What is done to training images besides what their data set does by itself."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: images weigh in the loss by one over the number of their class's; 1 on average."""
    teacher_share: float = 0.5
    """Share of the loss that compares with a teacher's answers, where there is a teacher."""
    temperature: float = 2.0
    """What logits are divided by where they are compared with a teacher's."""

    def __post_init__(self) -> None:
        shares = ("momentum", "warmup", "ema_decay", "bn_momentum", "dropout", "label_smoothing")
        check_range("recipe.", self, *shares, least=0, below=1)
        check_range("recipe.", self, "lr", "decay_epochs", "decay_rate", "temperature", above=0)
        check_range("recipe.", self, "teacher_share", least=0, most=1)
        check_range("recipe.", self, "eps", "weight_decay", least=0)
        check_choice("recipe.schedule", self.schedule, ("step", "cosine"))
        check_choice("recipe.class_weights", self.class_weights, ("none", "balanced"))

    def make_network(self, spec: NetSpec) -> Network:
        """The network of ``spec`` with fresh weights, in the memory format that trains fastest."""
        network = Network(replace(spec, bn_momentum=self.bn_momentum), self.dropout)
        # Depthwise convolutions run several times faster so, on CPUs and in bf16 on GPUs.
        return network.to(memory_format=torch.channels_last)

    def make_optimizer(
        self, network: nn.Module, images_per_step: int, fused: bool = True
    ) -> torch.optim.Optimizer:
        """The optimizer of ``network`` at its peak learning rate.

        ``images_per_step`` counts those of all processes and accumulated batches; ``fused`` must be
        off where losses are scaled.

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
                fused=fused,
                **extra,
            )
        except ValueError:
            known = ", ".join(map(str, list_optimizers()))
            message = f"recipe.optimizer is {self.optimizer!r}, allowed are {known}"
            raise UserError(message) from None

    def make_schedule(
        self, optimizer: torch.optim.Optimizer, num_steps: int, steps_per_epoch: float
    ) -> Scheduler:
        """The learning rate as a function of the step: call ``step_update(step)`` before each.

        Steps are the optimizer's, which stands at its peak learning rate.
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

    def loss(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Training loss of logits (B, classes), of labels (B,) or probabilities (B, classes)."""
        return functional.cross_entropy(
            logits, targets, class_weights, label_smoothing=self.label_smoothing
        )

    def batch_loss(
        self,
        network: Callable[[Tensor], Tensor],
        batch: Sequence[Tensor],
        num_classes: int,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Training loss of a batch, of which images may be mixed.

        It holds images (B, 3, R, R), labels (B,) and, where there is a teacher, its logits
        (B, classes); ``class_weights`` are (classes,), 1 for an average image.
        """
        images, labels, *answers = batch
        if not (self.augmentation.mixes or answers or class_weights is not None):
            return self.loss(network(images), labels)
        targets = functional.one_hot(labels, num_classes).to(images.dtype)
        taught = [softened(answer.to(images.dtype), self.temperature) for answer in answers]
        if self.augmentation.mixes:
            images, both = mixed(self.augmentation, images, torch.cat([targets, *taught], 1))
            targets, *taught = both.split(num_classes, 1)
        logits = network(images)
        loss = self.loss(logits, targets, class_weights)
        for answer in taught:
            loss = torch.lerp(loss, apart(logits, answer, self.temperature), self.teacher_share)
        return loss

    def weights_of(self, labels: Callable[[], Sequence[int]], num_classes: int) -> Tensor | None:
        """Weights of the classes (classes,) by the labels of all training images, if they differ.

        Their mean over the images is 1.
        """
        if self.class_weights == "none":
            return None
        counts = torch.tensor(labels()).bincount(minlength=num_classes)
        return counts.sum() / (num_classes * counts.clamp(min=1))

    def as_values(self) -> dict[str, Any]:
        """All that changes a training, as plain values by which trainings are told apart.

        Settings of later versions are there only where they are used, so that what was trained
        before is known by the same values.
        """
        values = asdict(self)
        del values["augmentation"]
        kept = {n: v for n, v in values.items() if n not in LATER or v != getattr(PAPER, n)}
        return kept | {f"augmentation.{n}": v for n, v in self.augmentation.active.items()}


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities (B, classes) of a teacher's logits at a temperature."""
    return (logits / temperature).softmax(1)


def apart(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """How far logits (B, classes) are from a teacher's ``softened`` ones: a mean divergence."""
    own = (logits / temperature).log_softmax(1)
    # Times its square, which leaves gradients of one size (Hinton et al. 2015, sec. 2).
    return temperature**2 * functional.kl_div(own, probabilities, reduction="batchmean")


LATER = ("class_weights", "teacher_share", "temperature")
"""Settings that version 0.1 did not have."""
PAPER = Recipe()
"""MnasNet's own."""
