"""Settings of a search that a config names, beside the reward and the controller's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from supernet.errors import UserError, check_choice, check_range
from supernet.training.recipe import make_optimizer

Score = Literal["tuned", "soft_accuracy", "accuracy"]
"""What a controller is rewarded by: what a regression on short tunings predicts of a network, or
what its slice of the supernet is worth on a reward batch."""
SHARE_TUNED, SHARE_SLICES = 0.0, 0.8
"""Shares of the steps that train shared weights on uniform paths, by default."""


@dataclass(frozen=True)
class Schedule:
    """What a search spends its weight steps on, so that a recipe holds for any length.

    A share of ``trainer.max_steps`` trains shared weights on uniform paths. What follows is
    ``sampling.score``'s: tunings of single networks, or steps on paths that the controller samples.
    Up to ``warmup`` of the shared steps, each decision takes its warm-up value with a
    probability that falls linearly from 1 to 0 (TuNAS, sec. 4.2, who warm up ops and filters; here
    every decision, without which the space does not train). The learning rate of the weights falls
    to ``floor`` until their last uniform step, so that what is scored are weights that have
    settled.
    """

    share: float | None = None
    """Share of the steps that train shared weights on uniform paths. By default none with score
    tuned: each tuning then begins afresh, which has found networks that are as good or better
    (docs/search-quality.md). With the slices' scores .8: rewards of younger weights rank networks
    by luck."""
    warmup: float = 0.625
    """Share of these with warm-up paths."""
    stream: float = 0.875
    """Share of these over which the shared shortcuts fade to nothing."""
    floor: float = 0.05
    """Learning rate of the weights at the end of these and later, as a share of the largest: above
    0, as what a policy comes to prefer is to be trained on, and low, as rewards of moving weights
    blur."""
    ramp: float = 0.03
    """Share of these over which that learning rate rises from 0 at the start."""
    uniform: float | None = None
    """Name of ``share`` until 0.2, when warmup, stream and ramp were shares of all steps; for old
    configs."""

    def __post_init__(self) -> None:
        if self.uniform is not None:
            self._translate(self.uniform)
        check_range("schedule.", self, "share", least=0, below=1)
        check_range("schedule.", self, "warmup", "stream", "floor", "ramp", least=0, most=1)

    def _translate(self, uniform: float) -> None:
        """Take the settings for those of version 0.1."""
        if self.share is not None:
            raise UserError(
                f"schedule: uniform {uniform} is the old name of share, which is {self.share}:"
                " give one of them, and null for the other"
            )
        # Today's defaults are those that nobody has named.
        shares = {
            name: before if value == default else value
            for name, value, default, before in (
                ("warmup", self.warmup, 0.625, 0.5),
                ("stream", self.stream, 0.875, 0.7),
            )
        }
        shares["ramp"] = self.ramp
        if not 0 <= uniform < 1 or max(shares.values()) > uniform > 0:
            given = ", ".join(f"{name} {value}" for name, value in shares.items())
            raise UserError(
                "schedule: 0 <= warmup, stream, ramp <= uniform < 1 must hold, got"
                f" {given}, uniform {uniform}"
            )
        shares = {name: value / uniform if uniform else 0.0 for name, value in shares.items()}
        for name, value in {**shares, "share": uniform, "uniform": None}.items():
            object.__setattr__(self, name, value)

    def shared_steps(self, total: int, score: Score) -> int:
        """How many of a search's steps train shared weights on uniform paths."""
        usual = SHARE_TUNED if score == "tuned" else SHARE_SLICES
        share = usual if self.share is None else self.share
        return math.ceil(round(share * total, 6))

    def warmup_probability(self, progress: float) -> float:
        """Probability that a decision takes its warm-up value.

        ``progress``, here and below, is the share of the shared steps that are done, in [0, 1].
        """
        return _fading(progress, self.warmup)

    def stream_weight(self, progress: float) -> float:
        """Weight of the shortcuts that all ops share."""
        return _fading(progress, self.stream)

    def learning_rate(self, progress: float) -> float:
        """Factor on the largest learning rate of the weights: ramp, cosine, floor."""
        if progress < self.ramp:
            return progress / self.ramp
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _fading(progress: float, end: float) -> float:
    return max(0.0, 1 - progress / end) if end else 0.0


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

    def shorten_gradients(self, optimizer: Optimizer) -> Tensor:
        """Shorten gradients, if their norm over all weights is above the largest; returns it."""
        weights = [one for group in optimizer.param_groups for one in group["params"]]
        held = [one for one in weights if one.grad is not None]
        norm = get_total_norm([one.grad for one in held])
        # A factor of 1 takes a third of all this; on a GPU, asking whether it is 1 would wait.
        if not (norm.is_cpu and norm < 0.99 * self.max_grad_norm):
            clip_grads_with_norm_(held, self.max_grad_norm, norm)
        return norm

    def scaled_lr(self, global_batch: int) -> float:
        """Largest learning rate for ``global_batch`` images per step."""
        ratio = global_batch / self.lr_batch
        adaptive = any(part in self.name for part in ("ada", "lamb"))
        return self.lr * (ratio**0.5 if adaptive else ratio)


def update_steps(first: int, total: int, every: int) -> range:
    """The steps of ``total`` after which a controller learns from slices, one in ``every``."""
    return range(-(-first // every) * every, total, every)


@dataclass(frozen=True)
class Sampling:
    """What the controller is rewarded by, and how often it is asked."""

    score: Score = "tuned"
    """``tuned``: what a regression predicts that was fitted to networks tuned for a few steps each
    (section ``surrogate``). Or the mean over a reward batch of what slices of the supernet do,
    while the policy's paths are trained: ``accuracy``, or ``soft_accuracy``, which counts answers
    that are nearly right in part. Slices rank networks hardly better than their cost does
    (docs/lab-notebook.md)."""
    samples: int = 20
    """Architectures per update and process."""
    every: int = 8
    """Weight steps between two updates from slices."""
    images: int | None = None
    """Images of a reward batch for slices, per process; the data's batch size by default."""

    def __post_init__(self) -> None:
        check_range("sampling.", self, "every", "samples", "images", least=1)
        check_choice("sampling.score", self.score, get_args(Score))


@dataclass(frozen=True)
class SurrogateSettings:
    """How the networks are chosen that a search with score ``tuned`` learns from.

    The steps that are left after the shared ones are dealt to tunings, as many to each of
    ``networks`` and of ``final.candidates`` for each target, so that tunings grow with the budget,
    from some 25 steps on digits to a share of an epoch on ImageNet.
    """

    networks: int = 56
    """Networks to learn from, over all rounds. At equal cost half as many that are tuned for twice
    as long tell less of networks unseen (docs/search-quality.md)."""
    first: int = 44
    """Uniform ones among them, near the targets, before the controller learns for the first time:
    with a dozen labels two searches of four ended below random networks."""
    rounds: int = 3
    """Rounds, the first one included. Each later one tunes what the controller proposes, as many
    in each; where the regression tells nothing yet, uniform networks instead."""
    uniform: float = 0.25
    """Share of uniform networks in later rounds, beside which the proposals are seen to stand."""
    updates: int = 15
    """Updates of the controller after each round. Three times as many find networks that the
    surrogate values by 4 % more."""
    processes: int = 1
    """Networks tuned at a time, in processes of one thread each that hold all images of a tuning;
    where the search has one device, a CPU."""

    def __post_init__(self) -> None:
        check_range("surrogate.", self, "first", "rounds", "updates", "processes", least=1)
        check_range("surrogate.", self, "networks", least=self.first)
        check_range("surrogate.", self, "uniform", least=0, most=1)

    def sizes(self) -> list[int]:
        """Networks of each round."""
        if self.rounds == 1:
            return [self.networks]
        rest, later = self.networks - self.first, self.rounds - 1
        return [self.first, *(len(range(part, rest, later)) for part in range(later))]


@dataclass(frozen=True)
class Final:
    """How the end of a search spends its time."""

    samples: int = 256
    """The likeliest architectures of a policy, or the best that another controller has met."""
    candidates: int | None = None
    """How many are tuned, for each target, and judged on the whole validation split: 4 by default,
    and 24 in all beside the slices' scores."""
    recalibration_images: int = 2048
    """Training images that give an extracted network its batch statistics (OFA: 2,000)."""
    tuning_steps: int | None = None
    """Steps that each of these is trained for on its own before it is judged. By default what the
    budget gives every network (section ``surrogate``), and 40 beside the slices' scores, which rank
    half as well without; 0 judges those as they are."""
    measured: int = 3
    """How many of the best are timed on this device."""
    int8: bool = False
    """Whether those that are judged are also judged in int8, beside floats; some 10 s for each.
    With ``sampling.score tuned`` alone."""

    def __post_init__(self) -> None:
        check_range("final.", self, "samples", "candidates", "recalibration_images", least=1)
        check_range("final.", self, "tuning_steps", "measured", least=0)

    def settled(self, score: Score) -> Final:
        """The settings with the number of candidates that suits a score."""
        usual = TUNED_CANDIDATES if score == "tuned" else SLICE_CANDIDATES
        return replace(self, candidates=self.candidates or usual)

    @property
    def num(self) -> int:
        """Number of candidates, once it is settled."""
        assert self.candidates is not None
        return self.candidates


TUNED_CANDIDATES, SLICE_CANDIDATES = 4, 24
"""Candidates of the last choice, by default."""
BESIDE_SLICES = 40
"""Steps of the last tunings where controllers learn from slices."""


class Lengths(NamedTuple):
    """Steps of tunings."""

    label: int
    """Of a network to learn from; 0 where slices are scored."""
    final: int
    """Of a finalist."""


def tuning_lengths(
    left: int, score: Score, surrogate: SurrogateSettings, final: Final, targets: int
) -> Lengths:
    """Lengths of the tunings that ``left`` steps pay for, see ``SurrogateSettings``.

    Raises:
        UserError: when there are too few steps or networks, or finalists are to be tuned for none.
    """
    if score != "tuned":
        if final.int8:
            raise UserError(
                f"final.int8 is true, but only with sampling.score tuned networks are judged in"
                f" int8, not with {score}: leave it out"
            )
        given = final.tuning_steps
        return Lengths(0, BESIDE_SLICES if given is None else given)
    finalists = final.num * targets
    if surrogate.first < targets:
        raise UserError(
            f"surrogate.first is {surrogate.first}, fewer than the {targets} targets, near each of"
            " which a network is tuned: raise it"
        )
    if final.tuning_steps is not None and final.tuning_steps < LEAST_STEPS:
        raise UserError(
            f"final.tuning_steps is {final.tuning_steps}: with sampling.score tuned it must be at"
            f" least {LEAST_STEPS}, as finalists are chosen by their losses; leave it out for what"
            " the budget gives"
        )
    if final.tuning_steps is None:
        label = left // (surrogate.networks + finalists)
    else:
        label = (left - finalists * final.tuning_steps) // surrogate.networks
    if label < LEAST_STEPS:
        raise UserError(
            f"{left} steps are left for tuning {surrogate.networks} networks and {finalists}"
            f" finalists, fewer than {LEAST_STEPS} for each network: raise trainer.max_steps, or"
            " lower model.schedule.share, surrogate.networks, final.candidates or"
            " final.tuning_steps"
        )
    return Lengths(label, label if final.tuning_steps is None else final.tuning_steps)


LEAST_STEPS = 2
"""Steps of the shortest tuning: one would show the network only as it was before."""
