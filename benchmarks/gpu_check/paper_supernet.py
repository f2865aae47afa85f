"""The supernet of the paper's space, at the resolution of the check."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from benchmarks.gpu_check.machine import AMOUNT, DEVICE
from supernet.network.supernet import SuperNet
from supernet.space.mnasnet import read_space


def paper_supernet(classes: int = 1000) -> SuperNet:
    """A supernet of seed 0 in channels_last, on the device."""
    space = dataclasses.replace(
        read_space(Path("configs/spaces/paper.yaml")),
        width=AMOUNT.width,
        resolution=AMOUNT.resolution,
        classes=classes,
        stem_stride=2 if AMOUNT.resolution > 64 else 1,
    )
    torch.manual_seed(0)
    return SuperNet(space).to(DEVICE, memory_format=torch.channels_last)
