"""Gradients of shared weights, averaged over ranks: of what one of them has trained alone."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from search.gradients.slices import PathSlices
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path


class GradientReduction:
    """What ``DistributedDataParallel`` does for a supernet, for a fraction of the bytes.

    A step trains paths on each rank, of which each knows all: what no path takes has no gradient
    anywhere. The result is that of DDP with ``find_unused_parameters``. As there, the mean is over
    all ranks: a slice that k of N ranks have trained gets k / N of their mean gradient.
    """

    def __init__(self, supernet: SuperNet, compressed: bool = False) -> None:
        """``compressed``: whether gradients travel in bfloat16, half the bytes, and are rounded."""
        self._parameters = [*supernet.parameters()]
        self._slices = PathSlices(supernet)
        self._kind = torch.bfloat16 if compressed else torch.float32

    @functools.cached_property
    def _buffer(self) -> Tensor:
        """Numbers on their way, at one address for good; a step of warm-up needs nearly all."""
        numbers = sum(one.numel() for one in self._parameters)
        return torch.empty(numbers, dtype=self._kind, device=self._parameters[0].device)

    @torch.no_grad()
    def __call__(self, paths: Sequence[Path], stream: bool) -> None:
        """Average gradients after a backward pass on each rank.

        Args:
            paths: of all ranks.
            stream: whether the shared shortcuts had any weight.
        """
        views = self._views(paths, stream)
        flat = self._buffer[: sum(one.numel() for one in views)]
        parts = flat.split([one.numel() for one in views])
        parts = [part.view(one.shape) for part, one in zip(parts, views, strict=True)]
        torch._foreach_copy_(parts, views)
        # Before the sum, as DDP does.
        flat.mul_(1 / distributed.get_world_size())
        distributed.all_reduce(flat)
        torch._foreach_copy_(views, parts)

    def _views(self, paths: Sequence[Path], stream: bool) -> list[Tensor]:
        """Boxes of gradients, 0 where this rank has trained nothing."""
        views = []
        for place, boxes in self._slices.covering(paths, stream).items():
            parameter = self._parameters[place]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            views += [box_of(parameter.grad, box) for box in boxes]
        return views


def box_of(tensor: Tensor, box: Sequence[tuple[int, int]]) -> Tensor:
    """A view of a box of a tensor."""
    return tensor[tuple(slice(start, stop) for start, stop in box)]
