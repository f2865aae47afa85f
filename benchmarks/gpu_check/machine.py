"""The machine of a check: its device, and how much work suits it."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch
from torch import Tensor

from supernet.latency.devices.device import cpu_model

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


class Amount(NamedTuple):
    """Sizes of what is measured: those of a real training on a GPU, else the least that runs."""

    resolution: int
    """Side of the images, px."""
    width: float
    """Of all layers of the paper's space."""
    batch: int
    """Images of a step where only steps are timed."""
    num_steps: int
    """Timed steps."""
    num_warm_steps: int
    """Steps before these."""
    num_host_steps: int
    """Steps after these, each launched on an idle GPU."""
    num_archs: int
    """Architectures whose steps are timed."""
    parity_batch: int
    """Images on which outputs are compared."""
    num_parity_archs: int
    """Architectures whose outputs are compared."""
    run_batch: int
    """Images of a step of a search; twice as many of a retraining."""
    run_steps: int
    """Steps of the longest search."""
    num_workers: int
    """Processes that decode images."""
    update_every: int
    """Steps between two updates of a controller."""
    samples: int
    """Candidates of an update."""
    num_files: int
    """JPEG files of each class."""
    file_side: int
    """Side of these, px."""


AMOUNT = (
    Amount(224, 1.0, 256, 10, 3, 3, 3, 32, 4, 64, 300, 12, 10, 20, 120, 320)
    if GPU
    else Amount(32, 0.25, 4, 1, 1, 1, 1, 4, 2, 8, 30, 0, 3, 3, 24, 64)
)


def device_name() -> str:
    """The GPU's name, or the CPU's."""
    return torch.cuda.get_device_name() if GPU else cpu_model()


def synchronize() -> None:
    """Wait until the GPU has done what it was given."""
    if GPU:
        torch.cuda.synchronize()


def autocast(dtype: torch.dtype | None) -> contextlib.AbstractContextManager[object]:
    """Mixed precision with ``dtype``; None computes in fp32."""
    return torch.autocast(DEVICE.type, dtype) if dtype else contextlib.nullcontext()


def random_batch(batch: int, classes: int = 1000) -> tuple[Tensor, Tensor]:
    """Images (B, 3, R, R) in channels_last, and labels (B,), on the device."""
    side = AMOUNT.resolution
    images = torch.randn(batch, 3, side, side, device=DEVICE)
    labels = torch.randint(classes, (batch,), device=DEVICE)
    return images.contiguous(memory_format=torch.channels_last), labels
