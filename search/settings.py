"""Settings of a search that a config names, beside the reward and the controller's."""

import dataclasses
import math
import random
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import Optimizer

from supernet.errors import UserError, check_choice, check_range
from supernet.space.arch import DECISIONS, MIXED, Arch, Path
from supernet.space.mnasnet import MnasSpace
from supernet.training.recipe import make_optimizer

Score = Literal["soft_accuracy", "accuracy"]
"""What a slice of the supernet is worth on a reward batch."""


@dataclass(frozen=True)
class Schedule:
    """Shares of a search's weight steps, so that a recipe holds for any length.

    Up to ``warmup``, each decision takes its all-enabling value with a probability that falls
    linearly from 1 to 0 (TuNAS, sec. 4.2, who warm up ops and filters; here every decision, without
    which the space does not train). Then paths are uniform, until at ``uniform`` the controller
    takes over. The learning rate of the weights falls to ``floor`` by then, so that the rewards
    are of weights that have settled.
    """

    warmup: float = 0.5
    """Share of the steps with warm-up paths."""
    stream: float = 0.7
    """Share of the steps over which the shared shortcuts fade to nothing."""
    uniform: float = 0.8
    """Share of the steps before the controller learns and chooses the paths. Rewards of younger
    weights rank networks by luck, and a policy that follows them trains only what it prefers."""
    floor: float = 0.05
    """Learning rate of the weights under the policy, as a share of the largest: above 0, as what
    the policy comes to prefer is to be trained on, and low, as rewards of moving weights blur."""
    ramp: float = 0.03
    """Share of the steps over which that learning rate rises from 0 at the start."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= self.uniform < 1 or not 0 <= self.stream <= self.uniform:
            raise UserError(
                "schedule: 0 <= warmup, stream <= uniform < 1 must hold, got"
                f" warmup {self.warmup}, stream {self.stream}, uniform {self.uniform}"
            )
        check_range("schedule.", self, "floor", least=0, most=1)
        check_range("schedule.", self, "ramp", least=0, below=1)

    def warmup_probability(self, progress: float) -> float:
        """Probability that a decision takes its all-enabling value; ``progress`` in [0, 1]."""
        return _fading(progress, self.warmup)

    def stream_weight(self, progress: float) -> float:
        """Weight of the shortcuts that all ops share."""
        return _fading(progress, self.stream)

    def learning_rate(self, progress: float) -> float:
        """Factor on the largest learning rate of the weights: ramp, cosine, floor."""
        if progress < self.ramp:
            return progress / self.ramp
        done = min(1.0, progress / self.uniform) if self.uniform else 1.0
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))

    def update_steps(self, total: int, every: int) -> range:
        """The steps of ``total`` after which the controller learns, one in ``every``."""
        first = next(step for step in range(0, total, every) if step / total >= self.uniform)
        return range(first, total, every)


def _fading(progress: float, end: float) -> float:
    return max(0.0, 1 - progress / end) if end else 0.0


def warmup_path(arch: Arch, space: MnasSpace, probability: float, rng: random.Random) -> Path:
    """Give each decision of ``arch`` its all-enabling value with ``probability``.

    Largest filters, layers, kernel and squeeze ratio; pooling as skip, which acts everywhere; and
    the average of all ops.
    """
    blocks = []
    for block, choices in zip(arch.blocks, space.choices, strict=True):
        largest = {name: max(values) for name, values in choices.items()}
        largest["op"] = MIXED if len(choices["op"]) > 1 else choices["op"][0]
        largest["skip"] = next(s for s in ("pool", "identity", "none") if s in choices["skip"])
        changes = {name: largest[name] for name in DECISIONS if rng.random() < probability}
        blocks.append(dataclasses.replace(block, **changes))
    return Arch(tuple(blocks))


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
        check_range("weights.", self, "lr", "max_grad_norm", above=0)
        check_range("weights.", self, "lr_batch", least=1)
        check_range("weights.", self, "weight_decay", least=0)
        check_range("weights.", self, "label_smoothing", least=0, below=1)

    def optimizer(self, supernet: nn.Module, global_batch: int, fused: bool = True) -> Optimizer:
        """The optimizer for ``global_batch`` images per step; groups know their ``largest_lr``.

        ``fused`` must be off where losses are scaled.

        Raises:
            UserError: for a name that timm does not know, and settings that it refuses.
        """
        lr = self.scaled_lr(global_batch)
        # A path leaves weights without a gradient: fused SGD wants a momentum of all or of none.
        fused = fused and self.name not in ("sgd", "momentum", "nesterov")
        try:
            built = make_optimizer(
                supernet, self.name, lr=lr, weight_decay=self.weight_decay, fused=fused
            )
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
        check_range("final.", self, "samples", "candidates", "recalibration_images", least=1)
        check_range("final.", self, "tuning_steps", "measured", least=0)
