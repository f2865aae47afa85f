"""Settings of a search that a config names, beside the schedule, the reward and PPO."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Final:
    """How the end of a search spends its time."""

    samples: int = 256
    """Architectures drawn from the policy."""
    candidates: int = 24
    """How many of them are judged on the whole validation split."""
    recalibration_images: int = 2048
    """Training images that give an extracted network its batch statistics (OFA: 2,000)."""
    measured: int = 3
    """How many of the best are timed on this device."""
