"""The environment of a check: versions, device, and what fp32 means there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil

import torch

from benchmarks.gpu_check.machine import CUDNN, GPU, device_name
from benchmarks.gpu_check.rows import Rows
from supernet.data.feeding import SHARED_MEMORY
from supernet.data.images.image_index import num_cores

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
    rows.add("cores", num_cores())
    if SHARED_MEMORY.is_dir():
        rows.add("free shared memory", shutil.disk_usage(SHARED_MEMORY).free / 2**30, "GiB")
    if GPU:
        rows.add("version cudnn", str(torch.backends.cudnn.version()))
        rows.add("version CUDA", str(torch.version.cuda))
        rows.add("memory", torch.cuda.get_device_properties(0).total_memory / 2**30, "GiB")
    precisions = (CUDNN.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    rows.add("fp32 of convolutions and of matrix products", " ".join(precisions))
    rows.add("float32_matmul_precision", torch.get_float32_matmul_precision())


if __name__ == "__main__":
    main()
