"""REINFORCE: one step of a policy along the score function, and what PPO shares with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.optim import Adam, Optimizer

from search.controllers.controller import UpdateStep
from search.controllers.policy import Policy, Samples
from supernet.errors import check_range
from supernet.run.distributed import mean_over_ranks


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
        """Refuse settings under which nothing is learned.

        Raises:
            UserError: naming the key, its value and its limits.
        """
        place = f"{self.section}."
        check_range(place, self, "entropy", least=0)
        check_range(place, self, "lr", "lr_growth", "max_grad_norm", above=0)
        check_range(place, self, "lr_updates", least=1)
        check_range(place, self, "baseline_decay", least=0, below=1)

    def learning_rate(self, update_step: UpdateStep) -> float:
        """The rate of one update: scaled to their number, and rising exponentially."""
        scaled = self.lr * (self.lr_updates / update_step.total) ** 0.5
        return scaled * self.lr_growth**update_step.progress

    def update(
        self,
        policy: Policy,
        optimizer: Optimizer,
        samples: Samples,
        advantages: Tensor,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Improve the policy, which is alike on all ranks before and then after.

        Args:
            policy: What drew the samples.
            optimizer: Of exactly the policy's parameters, at the learning rate to use.
            samples: M architectures of this rank, as many as on every other rank.
            advantages: (M,) distances of rewards from their baseline.
            generator: On the CPU; one step needs no shuffling.

        Returns:
            ``gradient_norm``, over all ranks and before clipping.
        """
        log_prob, entropy = policy.evaluate(samples.indices, samples.targets)
        loss = reinforce_loss(log_prob, advantages) - self.entropy * entropy.sum(dim=1).mean()
        return {"gradient_norm": float(descend(optimizer, loss, policy, self.max_grad_norm))}


@dataclass(frozen=True)
class Tunas(Reinforce):
    """Settings of REINFORCE on independent categoricals (TuNAS, Bender et al. 2020).

    Their entropy weight of 0 and lr of 4.8e-3, rising to 4.8e-2, are for 650,000 samples; these
    are for a few thousand.
    """

    section: ClassVar[str] = "tunas"

    lr: float = 0.1


def reinforce_loss(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """Surrogate whose gradient is the policy's, negated (Williams 1992): a scalar to minimise.

    Args:
        log_prob: (M, D), differentiable.
        advantages: (M,), shared by all decisions of an architecture.
    """
    return -(log_prob.sum(dim=1) * advantages).mean()


def adam(parameters: Iterable[nn.Parameter], lr: float) -> Adam:
    """A policy's optimizer; beta1 = 0, as momentum outlives a policy (TuNAS, search code)."""
    return Adam(parameters, lr=lr, betas=(0.0, 0.999))


def descend(optimizer: Optimizer, loss: Tensor, policy: Policy, max_norm: float) -> Tensor:
    """One step on the mean gradient over ranks, shortened; returns its norm before that.

    ``autograd.grad`` fires no hooks of the parameters, so DDP does not take part, even where the
    policy lies within the module that it wraps.
    """
    parameters = list(policy.parameters())
    gradient = mean_over_ranks(parameters_to_vector(torch.autograd.grad(loss, parameters)))
    norm = gradient.norm()
    gradient = gradient * (max_norm / norm).clamp(max=1)
    pieces = gradient.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    optimizer.step()
    return norm
