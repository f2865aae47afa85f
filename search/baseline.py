"""Advantages: how much better than usual a sampled architecture did, alike on every rank."""

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
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def update(self, mean: Tensor) -> Tensor:
        """Take in the mean reward over all ranks and return the new value, a scalar.

        TuNAS (search code) also updates before use.
        """
        self.total.lerp_(mean.to(self.total), 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)
        return self.value

    @property
    def value(self) -> Tensor:
        """The average; NaN before the first update."""
        return self.total / self.weight


def advantages(rewards: Tensor, baseline: Baseline, normalise: bool = True) -> Tensor:
    """Update the baseline and return the rewards' distances from it.

    Args:
        rewards: (M,) of this rank's samples.
        baseline: Must hold the same state on all ranks; it still does afterwards.
        normalise: Divide by the root mean square distance over all ranks. Unlike the standard
            deviation it stays in proportion when a policy near its end draws equal rewards.

    Returns:
        (M,) advantages of this rank's samples.
    """
    distances, scale = centre(rewards, baseline)
    return distances / scale if normalise else distances


def centre(rewards: Tensor, baseline: Baseline) -> tuple[Tensor, Tensor]:
    """Update the baseline; the rewards' distances from it (M,), and their scale over all ranks."""
    mean, std = gather_mean_std(rewards)
    distances = rewards - baseline.update(mean).to(rewards)
    scale = torch.hypot(std, mean - baseline.value.to(rewards))
    return distances, scale.clamp(min=RESOLUTION)


def gather_mean_std(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (biased) of the rewards of all ranks together, as scalars."""
    values = rewards.double()
    count = torch.ones_like(values)
    moments = mean_over_ranks(torch.stack([count, values, values.square()]).sum(dim=1))
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
