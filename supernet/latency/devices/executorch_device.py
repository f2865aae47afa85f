"""ExecuTorch with XNNPACK on this machine, through its Python runtime, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from supernet.latency.devices.device import cpu_model
from supernet.latency.devices.worker import Worker, WorkerDevice
from supernet.latency.devices.worker_loop import clock_of
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import Subject, input_shape


class ExecutorchDevice(WorkerDevice):
    """ExecuTorch on this machine; a context manager that ends its process.

    Args:
        files: where programs (.pte) lie; making one takes seconds, so they are kept.
        threads: that compute one network.
    """

    def __init__(self, files: ModelFiles, threads: int) -> None:
        self.files, self.threads = files, threads
        super().__init__(
            Worker("supernet.latency.devices.executorch_worker", [str(threads)], threads)
        )

    def describe(self) -> dict[str, Any]:
        """What a time depends on besides the network."""
        return {
            "backend": "executorch",
            "device": cpu_model(),
            "runtime": f"executorch {version('executorch')} with XNNPACK",
            "threads": self.threads,
            "precision": "fp32",
            "clock": clock_of(self.threads),
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before; programs are made where missing."""
        entries = [
            {"path": str(self.files.path(subject)), "shape": input_shape(subject)}
            for subject in subjects
        ]
        self.worker.ask({"load": entries})
