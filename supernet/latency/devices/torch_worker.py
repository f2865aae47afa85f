"""The measuring process of torch: ``python -m ... DEVICE THREADS PRECISION``.

On the CPU it runs eagerly. On a GPU each subject is captured as a CUDA graph, as a deployed
network would be, and timed by CUDA events: eager launches of small kernels would time Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from supernet.latency.devices.worker_loop import Run, clock_of, serve
from supernet.latency.models.subject import from_plain
from supernet.latency.models.torch_modules import example, module_of

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WARM_UP = 3
"""Runs on a side stream before a capture, as torch asks for."""


class Opener:
    """Turns entries of a load request into what can be run.

    Args:
        device: cpu or cuda.
        precision: a name in ``DTYPES``.
    """

    def __init__(self, device: str, precision: str) -> None:
        self.device, self.dtype = torch.device(device), DTYPES[precision]

    def __call__(self, entries: list[dict[str, Any]], stream: BinaryIO) -> list[Run]:
        """Build, place and warm up each subject."""
        return [self._open(entry) for entry in entries]

    def _open(self, entry: dict[str, Any]) -> Run:
        subject = from_plain(entry)
        layout = torch.channels_last
        network = module_of(subject).to(self.device, self.dtype).to(memory_format=layout)
        x = example(subject).to(self.device, self.dtype, memory_format=layout)
        if self.device.type == "cuda":
            return self._captured(network, x)
        return lambda: network(x)

    def _captured(self, network: nn.Module, x: Tensor) -> Run:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                network(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network(x)

        def replay() -> tuple[nn.Module, Tensor]:
            graph.replay()
            # A graph does not own what it reads: it must live as long as this function.
            return network, x

        return replay


def cuda_time(run: Run) -> float:
    """Milliseconds of one run on the GPU, between two events on its stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def main(device: str, threads: int, precision: str) -> None:
    """Serve until stdin ends."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    timer: Callable[[Run], float] | None = cuda_time if device == "cuda" else None
    with torch.inference_mode():
        serve(Opener(device, precision), clock_of(threads), timer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
