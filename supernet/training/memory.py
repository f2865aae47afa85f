"""StepMemory: what a training step takes of a device's memory, measured on few images."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from supernet.errors import UserError

PROBES = (2, 4)
"""Images of the passes that are measured; batch norms need two."""
USABLE = 0.8
"""Share of the free memory that a largest batch may fill: kernels have scratch space of their own,
and memory is lost between blocks."""
COPIES = 5
"""Sizes of the weights that stay for a whole training: weights, gradients, two moments of an
optimizer, and the average of the weights."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step takes, as a line in the images of its batch."""

    each: float
    """Of features that an image keeps from the forward pass for the backward pass, and of what the
    backward pass has on top."""
    fixed: float
    """Of weights, their gradients, moments and averages, and what else no image adds to."""

    def of(self, images: int) -> float:
        """Bytes of a batch."""
        return self.fixed + images * self.each

    def largest(self, free: int) -> int:
        """Images of the largest batch that fits into so many bytes; 0 where not even one does."""
        return max(0, math.floor((USABLE * free - self.fixed) / self.each))


def step_memory(module: nn.Module, loss_of: Callable[[int], Tensor]) -> StepMemory:
    """What a step of ``module`` takes.

    ``loss_of`` makes the loss of a batch of so many images with its graph, on the device and in the
    precision of the training.
    """
    own = {one.untyped_storage().data_ptr() for one in [*module.parameters(), *module.buffers()]}
    few, more = (_saved_bytes(loss_of, images, own) for images in PROBES)
    each = (more - few) / (PROBES[1] - PROBES[0])
    weights = sum(one.nbytes for one in module.parameters())
    return StepMemory(each, max(0.0, few - PROBES[0] * each) + COPIES * weights)


def _saved_bytes(loss_of: Callable[[int], Tensor], images: int, own: set[int]) -> float:
    """Bytes that a pass keeps, and those of the gradients of its largest tensor on the way back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(images)
    features = [size for place, size in kept.items() if place not in own]
    del loss
    # The gradients of an output and of the input that it was made of.
    return sum(features) + 2 * max(features)


def free_bytes(device: torch.device, processes: int = 1) -> int:
    """Memory that is free on a device or, for a processor, in this machine or container.

    ``processes`` of this machine share a processor's.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free, too.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_machine_bytes(), _container_bytes()) // processes


def _machine_bytes(told: Path = Path("/proc/meminfo")) -> int:
    """Memory that this machine can give without swapping; half of all where it does not tell."""
    try:
        lines = told.read_text().splitlines()
        return next(1024 * int(one.split()[1]) for one in lines if one.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _container_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that a container's limit leaves free."""
    try:
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):  # no limit
        return 2**62


MOST_IMAGES, LEAST_STEPS = 4096, 10
"""Images of a step over all processes, as the paper has them, and steps of an epoch, beyond which a
larger batch would be found for its own sake."""


def largest_batch(memory: StepMemory, free: int, num_images: int, batches_per_step: int) -> int:
    """Images of the largest batch of a process that fits and leaves an epoch its steps.

    Args:
        memory: of a step.
        free: bytes of a process.
        num_images: to train on.
        batches_per_step: over all processes and accumulated batches.

    Raises:
        UserError: when not even two images fit.
    """
    fits = memory.largest(free)
    if fits < 2:
        raise UserError(
            f"data.batch_size is auto, but not even 2 images fit: they take {size(memory.of(2))} of"
            f" {size(free)} that are free: lower the resolution, or give a device of more memory"
        )
    number = min(fits, min(MOST_IMAGES, num_images // LEAST_STEPS) // batches_per_step)
    # Pairs of a batch are mixed, and kernels like multiples of 8.
    return max(2, number - number % (8 if number >= 8 else 2))


def size(num_bytes: float) -> str:
    """Bytes in words: ``1.5 GiB``, ``30 MiB``."""
    mib = num_bytes / 2**20
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
