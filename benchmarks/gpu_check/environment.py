"""The environment of a check: versions, device, and what fp32 means there."""

from __future__ import annotations

import contextlib
import importlib.metadata

import torch

from benchmarks.gpu_check.machine import GPU, device_name
from benchmarks.gpu_check.rows import Rows

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "onnxruntime",
    "jsonargparse",
    "wandb",
)


def main() -> None:
    """Describe the machine; packages that it lacks are left out."""
    rows = Rows("env")
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            rows.add(f"version {name}", importlib.metadata.version(name))
    rows.add("device", device_name())
    if GPU:
        rows.add("version cudnn", str(torch.backends.cudnn.version()))
    precisions = (
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
    )
    rows.add("fp32 of convolutions and of matrix products", " ".join(precisions))


if __name__ == "__main__":
    main()
