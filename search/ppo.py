"""PPO: the update of the controller from architectures that it sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.optim import Adam, Optimizer

from search.controller import Controller, Samples
from supernet.arch import DECISIONS
from supernet.errors import UserError


@dataclass(frozen=True)
class PPO:
    """Settings of the update, for searches of some hundreds to a few thousand architectures.

    NASNet (appendix) names PPO but neither clip range nor epochs; its lr of 3.5e-4, entropy weight
    of 1e-5 and baseline decay of 0.95 are for 20,000 samples. These defaults were tuned on a toy of
    42 decisions with 20 samples an update (tests/test_controller.py), where they need about 900
    samples for 99 % of the optimum.
    """

    epochs: int = 8
    """Passes over the samples of one update."""
    minibatches: int = 1
    """Optimizer steps in one pass."""
    clip: float = 0.2
    """Ratio of new to old probability of a decision beyond which it gains nothing (PPO, eq. 7)."""
    entropy: float = 0.1
    """Weight of the entropy, in nats over all decisions, beside advantages of unit scale. Smaller
    ones let decisions settle on the luck of the first updates."""
    lr: float = 2e-4
    """Learning rate of Adam when the warm-up ends."""
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
        limits = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "minibatches": (self.minibatches >= 1, "at least 1"),
            "clip": (0 < self.clip < 1, "between 0 and 1"),
            "entropy": (self.entropy >= 0, "at least 0"),
            "lr": (self.lr > 0, "above 0"),
            "lr_growth": (self.lr_growth > 0, "above 0"),
            "baseline_decay": (0 <= self.baseline_decay < 1, "at least 0 and below 1"),
            "max_grad_norm": (self.max_grad_norm > 0, "above 0"),
        }
        for key, (holds, limit) in limits.items():
            if not holds:
                raise UserError(f"ppo.{key} is {getattr(self, key)}, it must be {limit}")


def adam(controller: Controller, settings: PPO) -> Adam:
    """The controller's optimizer; beta1 = 0, as momentum outlives a policy (TuNAS, search code)."""
    return Adam(controller.parameters(), lr=settings.lr, betas=(0.0, 0.999))


def learning_rate(progress: float, warmup: float, settings: PPO) -> float:
    """The controller's learning rate: 0 during the warm-up, then rising exponentially (TuNAS).

    Args:
        progress: Share of the search that is done, in [0, 1].
        warmup: Share of the search during which the supernet trains alone, in [0, 1).
        settings: Gives the rate after the warm-up and its growth until the end.
    """
    if progress < warmup:
        return 0.0
    return settings.lr * settings.lr_growth ** ((progress - warmup) / (1 - warmup))


def ppo_loss(new_log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Clipped surrogate objective (Schulman et al. 2017, eq. 7), negated: a scalar to minimise.

    Each decision is an action with a ratio of its own: one ratio for a whole architecture leaves
    its range as soon as a few of the 42 factors agree.

    Args:
        new_log_prob: (M, D), differentiable.
        old_log_prob: (M, D), of the policy that drew the samples.
        advantages: (M,), shared by all decisions of an architecture.
        clip: Half-width of the range of ratios around 1.
    """
    ratio = (new_log_prob - old_log_prob).exp()
    gain = advantages[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    return -surrogate.sum(dim=1).mean()


def ppo_update(
    controller: Controller,
    optimizer: Optimizer,
    samples: Samples,
    advantages: Tensor,
    settings: PPO,
    reduce_gradients: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> dict[str, float]:
    """Several passes over the samples, on the log-probabilities stored when they were drawn.

    Args:
        controller: Alike on all ranks before, and then alike after.
        optimizer: Of exactly the controller's parameters, at the learning rate to use.
        samples: M architectures of this rank, as many as on every other rank.
        advantages: (M,), see ``search.baseline.advantages``.
        settings: Epochs, minibatches, clip range, entropy weight, gradient limit.
        reduce_gradients: Maps the flat gradient of this rank to the mean over ranks:
            ``search.baseline.mean_over_ranks``.
        generator: On the CPU; shuffles this rank's samples.

    Returns:
        Means over the optimizer steps of ``clip_fraction``, ``kl`` (nats per architecture) and
        ``gradient_norm`` (before clipping); ``entropy/KIND`` of the policy that drew the samples,
        in nats per decision. All but the gradient norm are of this rank's samples.

    Raises:
        UserError: if there are fewer samples than minibatches.
    """
    num = len(samples.indices)
    if num < settings.minibatches:
        raise UserError(
            f"ppo.minibatches is {settings.minibatches}, but an update has {num} samples per"
            " process: lower it or sample more"
        )
    steps = []
    for _ in range(settings.epochs):
        order = torch.randperm(num, generator=generator).to(advantages.device)
        for rows in order.tensor_split(settings.minibatches):
            old = samples.log_prob[rows]
            new, entropy = controller.evaluate(samples.indices[rows])
            loss = ppo_loss(new, old, advantages[rows], settings.clip)
            loss = loss - settings.entropy * entropy.sum(dim=1).mean()
            norm = _descend(optimizer, loss, controller, reduce_gradients, settings.max_grad_norm)
            steps.append(torch.stack([*_divergence(new.detach() - old, settings.clip), norm]))
    means = torch.stack(steps).mean(dim=0).tolist()
    logs = dict(zip(("clip_fraction", "kl", "gradient_norm"), means, strict=True))
    return logs | _entropy_by_kind(samples.entropy)


def _descend(
    optimizer: Optimizer,
    loss: Tensor,
    controller: Controller,
    reduce_gradients: Callable[[Tensor], Tensor],
    max_norm: float,
) -> Tensor:
    """One optimizer step on the reduced and shortened gradient; returns its norm before that.

    ``autograd.grad`` fires no hooks of the parameters, so DDP does not take part, even where the
    controller lies within the module that it wraps.
    """
    parameters = list(controller.parameters())
    gradient = reduce_gradients(parameters_to_vector(torch.autograd.grad(loss, parameters)))
    norm = gradient.norm()
    gradient = gradient * (max_norm / norm).clamp(max=1)
    pieces = gradient.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    optimizer.step()
    return norm


def _divergence(log_ratio: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Share of (M, D) ratios outside the clip range, and KL(old, new) in nats per architecture.

    The KL is the estimator k3 = (r - 1) - log r of Schulman's note "Approximating KL Divergence"
    (2020): never negative, unbiased on samples of the old policy.
    """
    excess = log_ratio.expm1()
    outside = (excess.abs() > clip).to(excess).mean()
    return outside, (excess - log_ratio).sum(dim=1).mean()


def _entropy_by_kind(entropy: Tensor) -> dict[str, float]:
    """Mean entropy of each kind of decision, from (M, D) with the kinds in turn."""
    means = entropy.unflatten(1, (-1, len(DECISIONS))).mean(dim=(0, 1)).tolist()
    return {f"entropy/{kind}": mean for kind, mean in zip(DECISIONS, means, strict=True)}
