"""The measuring process of ExecuTorch with XNNPACK: ``python -m ... THREADS``."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime

from supernet.latency.devices.worker_loop import Run, clock_of, serve


def load(entries: list[dict[str, Any]], stream: BinaryIO) -> list[Run]:
    """Open the programs that the entries name."""
    return [_open(entry["path"], entry["shape"]) for entry in entries]


def _open(path: str, shape: list[int]) -> Run:
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    # The method borrows the program's memory: both must live as long as the run.
    return lambda: (program, method.execute([x]))


if __name__ == "__main__":
    THREADS = int(sys.argv[1])
    # All cores would take part otherwise; the runtime has no public name for it.
    portable_lib._unsafe_reset_threadpool(THREADS)
    serve(load, clock_of(THREADS))
