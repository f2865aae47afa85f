"""Losses of a policy, REINFORCE's and PPO's, and the settings of how it learns by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search.controllers.controller import UpdateStep
from supernet.errors import check_range


@dataclass(frozen=True)
class Reinforce:
    """Settings of REINFORCE on the LSTM, for a few thousand architectures.

    One step an update, so that its learning rate is PPO's times the epochs that it lacks. ENAS
    (sec. 2.2, code) learns so, from 1e-4 nats of entropy within the reward, over many more samples.
    """

    section: ClassVar[str] = "reinforce"

    entropy: float = 0.1
    """Weight of the entropy, in nats over all decisions, beside advantages of unit scale. Smaller
    ones let decisions settle on the luck of the first updates."""
    lr: float = 1.5e-3
    """Learning rate of Adam when the controller takes over, if it has ``lr_updates`` updates."""
    lr_updates: int = 75
    """More updates scale it down and fewer up, by the square root: with time it learns with less
    luck, and finds more of what decisions do together (6,000 samples of a strongly interacting toy,
    independent categoricals: 99 % in 10 of 10 seeds at half the rate, in 8 at the whole)."""
    lr_growth: float = 1.0
    """Factor by which the learning rate rises until the end of the search. TuNAS has 10, over
    650,000 samples; within 2,000 noisy ones a policy nearly found is shaken apart by it."""
    baseline_decay: float = 0.8
    """Weight of the past in the moving average of the reward. At 0.95 the average trails a quickly
    rising reward, all samples look good, and 99 % of the toy takes nearly twice as many."""
    normalise: bool = True
    """Whether advantages are divided by their root mean square."""
    max_grad_norm: float = 1.0
    """Longer gradients, taken over all parameters, are shortened to this."""

    def __post_init__(self) -> None:
        place = f"{self.section}."
        check_range(place, self, "entropy", least=0)
        check_range(place, self, "lr", "lr_growth", "max_grad_norm", above=0)
        check_range(place, self, "lr_updates", least=1)
        check_range(place, self, "baseline_decay", least=0, below=1)

    def learning_rate(self, step: UpdateStep) -> float:
        """The rate of one update: scaled to their number, and rising exponentially."""
        return self.lr * (self.lr_updates / step.total) ** 0.5 * self.lr_growth**step.progress

    def passes(self, num: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Rows of the ``num`` samples that each optimizer step of an update learns from."""
        return [torch.arange(num)]

    def loss(self, new: Tensor, old: Tensor, gain: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar to minimise, and statistics by name.

        Args:
            new: (M, D) log-probabilities of the decisions, differentiable.
            old: (M, D), when they were drawn.
            gain: (M,) advantages, shared by all decisions of an architecture.
        """
        return reinforce_loss(new, gain), {}


@dataclass(frozen=True)
class Tunas(Reinforce):
    """Settings of REINFORCE on independent categoricals (TuNAS, Bender et al. 2020).

    Their entropy weight of 0 and lr of 4.8e-3, rising to 4.8e-2, are for 650,000 samples; these
    are for a few thousand.
    """

    section: ClassVar[str] = "tunas"

    lr: float = 0.1


@dataclass(frozen=True)
class PPO(Reinforce):
    """Settings of PPO on the LSTM, for searches of some hundreds to a few thousand architectures.

    NASNet (appendix) names PPO but neither clip range nor epochs; its lr of 3.5e-4, entropy weight
    of 1e-5 and baseline decay of 0.95 are for 20,000 samples. These defaults were tuned on a toy of
    42 decisions with 20 samples an update (tests/helpers/toys.py).
    """

    section: ClassVar[str] = "ppo"

    epochs: int = 8
    """Passes over the samples of one update."""
    minibatches: int = 1
    """Optimizer steps in one pass."""
    clip: float = 0.2
    """Ratio of new to old probability of a decision beyond which it gains nothing (PPO, eq. 7)."""
    lr: float = 2e-4

    def __post_init__(self) -> None:
        check_range("ppo.", self, "epochs", "minibatches", least=1)
        check_range("ppo.", self, "clip", above=0, below=1)
        super().__post_init__()

    def passes(self, num: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Shuffled minibatches of several passes; no more of them than samples."""
        orders = [torch.randperm(num, generator=generator) for _ in range(self.epochs)]
        return [rows for order in orders for rows in order.tensor_split(self.minibatches)]

    def loss(self, new: Tensor, old: Tensor, gain: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate, with ``clip_fraction`` and ``kl`` of this rank's samples."""
        return ppo_loss(new, old, gain, self.clip), _divergence(new.detach() - old, self.clip)


def reinforce_loss(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """Surrogate of (M, D) and (M,), whose gradient is the policy's, negated (Williams 1992)."""
    return -(log_prob.sum(dim=1) * advantages).mean()


def ppo_loss(new_log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Clipped surrogate objective (Schulman et al. 2017, eq. 7), negated: a scalar to minimise.

    Each decision is an action with a ratio of its own: one ratio for a whole architecture leaves
    its range as soon as a few of the 42 factors agree. Log-probabilities are (M, D), the old ones
    of the policy that drew the samples; ``clip`` is the half-width of the range around 1.
    """
    ratio = (new_log_prob - old_log_prob).exp()
    gain = advantages[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    return -surrogate.sum(dim=1).mean()


def _divergence(log_ratio: Tensor, clip: float) -> dict[str, Tensor]:
    """Share of (M, D) ratios outside the clip range, and KL(old, new) in nats per architecture.

    The KL is the estimator k3 = (r - 1) - log r of Schulman's note "Approximating KL Divergence"
    (2020): never negative, unbiased on samples of the old policy.
    """
    excess = log_ratio.expm1()
    outside = (excess.abs() > clip).to(excess).mean()
    return {"clip_fraction": outside, "kl": (excess - log_ratio).sum(dim=1).mean()}
