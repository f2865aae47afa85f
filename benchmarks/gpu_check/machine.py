"""The machine of a check: its device, how much work suits it, and a supernet of that size."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from supernet.data.feeding import SHARED_MEMORY
from supernet.latency.devices.device import cpu_model
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import read_space

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
CUDNN: Any = torch.backends.cudnn
"""Typed as anything: torch makes ``conv`` among its settings as it loads, unseen by checkers."""


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
    """Images of a step of a search, as in configs/imagefolder; twice as many of a retraining."""
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
    """Width of these, px; they are three quarters as high."""
    num_read: int
    """Batches that are read without any training."""
    num_losses: int
    """Steps of the trainings that are compared between precisions."""
    compiled_steps: int
    """Timed steps of a compiled network."""


LARGE = Amount(
    resolution=224,
    width=1.0,
    batch=256,
    num_steps=10,
    num_warm_steps=3,
    num_host_steps=3,
    num_archs=5,
    parity_batch=32,
    num_parity_archs=4,
    run_batch=128,
    run_steps=300,
    num_workers=12,
    update_every=10,
    samples=20,
    num_files=240,
    file_side=500,
    num_read=40,
    num_losses=60,
    compiled_steps=50,
)
SMALL = Amount(
    resolution=32,
    width=0.25,
    batch=4,
    num_steps=1,
    num_warm_steps=1,
    num_host_steps=1,
    num_archs=1,
    parity_batch=4,
    num_parity_archs=2,
    run_batch=8,
    run_steps=30,
    num_workers=0,
    update_every=3,
    samples=3,
    num_files=24,
    file_side=64,
    num_read=3,
    num_losses=3,
    compiled_steps=1,
)
AMOUNT = LARGE if GPU else SMALL
READ_AHEAD = 8 * 2**30
"""Bytes of shared memory that worker processes need for batches of noise, which are large."""


def num_noise_workers() -> int:
    """Processes that give images of noise: none where shared memory does not hold their batches."""
    room = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= READ_AHEAD
    return AMOUNT.num_workers // 3 if room else 0


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


def paper_supernet(classes: int = 1000) -> SuperNet:
    """The supernet of the paper's space, of seed 0 and in channels_last, on the device."""
    space = dataclasses.replace(
        read_space(Path("configs/spaces/paper.yaml")),
        width=AMOUNT.width,
        resolution=AMOUNT.resolution,
        classes=classes,
        stem_stride=2 if AMOUNT.resolution > 64 else 1,
    )
    torch.manual_seed(0)
    return SuperNet(space).to(DEVICE).to(memory_format=torch.channels_last)
