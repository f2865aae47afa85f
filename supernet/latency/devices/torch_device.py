"""torch on this machine's CPU or its first GPU, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch

from supernet.errors import UserError
from supernet.latency.devices.device import cpu_model
from supernet.latency.devices.worker import Worker, WorkerDevice
from supernet.latency.devices.worker_loop import clock_of
from supernet.latency.models.subject import Subject, refuse_file, to_plain


class TorchDevice(WorkerDevice):
    """torch on one device; a context manager that ends its process.

    Args:
        device: cpu or cuda.
        threads: that compute one network on the CPU.
        precision: fp32, bf16 or fp16.

    Raises:
        UserError: for another device, and for cuda without a GPU.
    """

    def __init__(self, device: str, threads: int, precision: str) -> None:
        if device not in ("cpu", "cuda"):
            raise UserError(f"--device of torch is {device!r}, allowed are cpu, cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device is cuda, but torch finds no GPU here: give --device cpu")
        self.device, self.threads, self.precision = device, threads, precision
        arguments = [device, str(threads), precision]
        super().__init__(Worker("supernet.latency.devices.torch_worker", arguments, threads))

    def describe(self) -> dict[str, Any]:
        """What a time depends on besides the network."""
        on_gpu = self.device == "cuda"
        cuda = f", CUDA {torch.version.cuda}" if on_gpu else ""
        return {
            "backend": "torch",
            "device": torch.cuda.get_device_name() if on_gpu else cpu_model(),
            "runtime": f"torch {version('torch')}{cuda}",
            "threads": 0 if on_gpu else self.threads,
            "precision": self.precision,
            "clock": "gpu" if on_gpu else clock_of(self.threads),
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before."""
        self.worker.ask({"load": [to_plain(refuse_file(one, "torch")) for one in subjects]})
