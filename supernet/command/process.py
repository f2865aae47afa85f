"""Settings of the process that make training on a CPU faster, and change no result."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Reuse the pages of freed tensors instead of returning them to the system.

    By default glibc maps every tensor of some megabytes anew, and each page of it faults on first
    use: a quarter of a supernet step at 16 px. Other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(M_TOP_PAD, 1 << 26)


def remember_kernels(number: int = 20_000) -> None:
    """Let oneDNN keep a kernel for every shape of the space; it reads this on first use.

    A kernel is compiled per shape, and its cache of 1,024 is smaller than the number of shapes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(number))
