"""Settings of a search that a config names, beside the schedule, the reward and the controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import Optimizer

from supernet.errors import UserError, check_choice, check_range
from supernet.training.recipe import make_optimizer

Score = Literal["soft_accuracy", "accuracy"]
"""What a slice of the supernet is worth on a reward batch."""


@dataclass(frozen=True)
class WeightOptimizer:
    """How the shared weights are trained."""

    name: str = "adamw"
    """An optimizer of timm's ``create_optimizer_v2``."""
    lr: float = 6e-3
    """Largest learning rate for a global batch of ``lr_batch`` images."""
    lr_batch: int = 64
    """Other batches scale it linearly, or by the square root for adaptive optimizers (timm)."""
    weight_decay: float = 0.0
    """Not applied to norms and biases. Decay moves slices that a step did not use."""
    max_grad_norm: float = 5.0
    """Longer gradients, taken over all weights, are shortened to this."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes."""

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        check_range("weights.", self, "lr", "max_grad_norm", above=0)
        check_range("weights.", self, "lr_batch", least=1)
        check_range("weights.", self, "weight_decay", least=0)
        check_range("weights.", self, "label_smoothing", least=0, below=1)

    def optimizer(self, supernet: nn.Module, global_batch: int) -> Optimizer:
        """The optimizer for ``global_batch`` images per step; groups know their ``largest_lr``.

        Raises:
            UserError: for a name that timm does not know, and settings that it refuses.
        """
        lr = self.scaled_lr(global_batch)
        try:
            built = make_optimizer(supernet, self.name, lr=lr, weight_decay=self.weight_decay)
        except ValueError as error:
            raise UserError(f"weights: {error}; choose another name, lr or weight_decay") from None
        for group in built.param_groups:
            group["largest_lr"] = lr
        return built

    def scaled_lr(self, global_batch: int) -> float:
        """Largest learning rate for ``global_batch`` images per step."""
        ratio = global_batch / self.lr_batch
        adaptive = any(part in self.name for part in ("ada", "lamb"))
        return self.lr * (ratio**0.5 if adaptive else ratio)


@dataclass(frozen=True)
class Sampling:
    """How often the controller is asked."""

    every: int = 8
    """Weight steps between two controller updates."""
    samples: int = 20
    """Architectures per update and process, scored on one reward batch."""
    images: int | None = None
    """Images of a reward batch, per process; the data's batch size by default."""
    score: Score = "soft_accuracy"
    """What is averaged over these images: ``accuracy``, or ``soft_accuracy``, which counts answers
    that are nearly right in part. On few images it has less noise: docs/search-quality.md."""

    def __post_init__(self) -> None:
        """Refuse an update of nothing."""
        check_range("sampling.", self, "every", "samples", "images", least=1)
        check_choice("sampling.score", self.score, get_args(Score))


@dataclass(frozen=True)
class Final:
    """How the end of a search spends its time."""

    samples: int = 256
    """The likeliest architectures of a policy, or the best that another controller has met."""
    candidates: int = 24
    """How many of them are judged on the whole validation split."""
    recalibration_images: int = 2048
    """Training images that give an extracted network its batch statistics (OFA: 2,000)."""
    tuning_steps: int = 40
    """Steps that each of these is trained for on its own before it is judged: without them shared
    weights rank it by half as much, see docs/search-quality.md. 0 judges the slice as it is."""
    measured: int = 3
    """How many of the best are timed on this device."""

    def __post_init__(self) -> None:
        """Refuse an end without a choice."""
        check_range("final.", self, "samples", "candidates", "recalibration_images", least=1)
        check_range("final.", self, "tuning_steps", "measured", least=0)
