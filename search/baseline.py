"""Advantages: how much better than usual a sampled architecture did, alike on every rank.

What is usual depends on the target: under a tight one all architectures earn less.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

RESOLUTION = 1e-6
"""Differences of reward below this are rounding; no normalisation may blow them up."""


class Baseline(nn.Module):
    """Moving average of the mean reward, zero-debiased (NASNet, appendix).

    Zero-debiasing divides by the weight gathered so far, so that the first value is the first mean
    and no start value has to be guessed. Its buffers are its whole state.

    Args:
        decay: Weight of the past in each update, in [0, 1).
        targets: K, each with an average of its own.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float, targets: int = 1) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("total", torch.zeros(targets))
        self.register_buffer("weight", torch.zeros(targets))

    @torch.no_grad()
    def update(self, mean: Tensor) -> Tensor:
        """Take in the mean rewards (K,) over all ranks and return the new values, (K,).

        NaN leaves a target's average as it was. TuNAS (search code) also updates before use.
        """
        seen = ~mean.isnan()
        share = 1 - self.decay
        self.total.copy_(self.total.lerp(mean.to(self.total), share).where(seen, self.total))
        self.weight.copy_(self.weight.lerp(seen.to(self.weight), share).where(seen, self.weight))
        return self.value

    @property
    def value(self) -> Tensor:
        """The averages (K,); NaN before the first update."""
        return self.total / self.weight


def advantages(
    rewards: Tensor, baseline: Baseline, targets: Tensor | None = None, normalise: bool = True
) -> Tensor:
    """Update the baseline and return the rewards' distances from it.

    Args:
        rewards: (M,) of this rank's samples.
        baseline: Must hold the same state on all ranks; it still does afterwards.
        targets: (M,) numbers of their targets; the first by default.
        normalise: Divide by the root mean square distance of the same target over all ranks.
            Unlike the standard deviation it stays in proportion when a policy near its end draws
            equal rewards.

    Returns:
        (M,) advantages of this rank's samples.
    """
    distances, scale = centre(rewards, baseline, targets)
    return distances / scale if normalise else distances


def centre(
    rewards: Tensor, baseline: Baseline, targets: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Update the baseline; the rewards' distances from it, and their scale over all ranks, (M,)."""
    numbers = first_target(rewards) if targets is None else targets
    mean, std = gather_mean_std(rewards, numbers, len(baseline.total))
    usual = baseline.update(mean).to(rewards)
    scale = torch.hypot(std, mean - usual).clamp(min=RESOLUTION)
    return rewards - usual[numbers], scale[numbers]


def first_target(rewards: Tensor) -> Tensor:
    """(M,) zeros: the number of a single target, for each reward."""
    return torch.zeros_like(rewards, dtype=torch.long)


def gather_mean_std(
    rewards: Tensor, targets: Tensor | None = None, num_targets: int = 1
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (biased) of each target's rewards over all ranks, (K,).

    NaN where a target has none.
    """
    numbers = first_target(rewards) if targets is None else targets
    values = rewards.double()
    powers = torch.stack([torch.ones_like(values), values, values.square()])
    sums = powers.new_zeros(3, num_targets).index_add(1, numbers, powers)
    moments = mean_over_ranks(sums)
    mean, square = moments[1:] / moments[0]
    std = (square - mean.square()).clamp(min=0).sqrt()
    return mean.to(rewards), std.to(rewards)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise sum over all processes; the tensor itself where there is only one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise mean over all processes; the tensor itself where there is only one."""
    total = sum_over_ranks(tensor)
    return tensor if total is tensor else total / distributed.get_world_size()


def gather_rows(tensor: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; every process must give as many."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
