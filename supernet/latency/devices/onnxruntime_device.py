"""ONNX Runtime on this machine's CPU, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from supernet.latency.devices.device import cpu_model
from supernet.latency.devices.worker import Worker, WorkerDevice
from supernet.latency.devices.worker_loop import clock_of
from supernet.latency.models.onnx_int8 import model_of
from supernet.latency.models.subject import OnnxFile, Subject, input_shape


def describe(threads: int = 1, precision: str = "fp32") -> dict[str, Any]:
    """What a time of this machine depends on besides the network."""
    return {
        "backend": "onnxruntime",
        "device": cpu_model(),
        "runtime": f"onnxruntime {version('onnxruntime')}",
        "threads": threads,
        "precision": precision,
        "clock": clock_of(threads),
    }


class ThisMachine(WorkerDevice):
    """ONNX Runtime on this machine; a context manager that ends its process.

    Args:
        threads: that compute one network.
        precision: ``fp32``, or ``int8`` for graphs with quantised convolutions.
    """

    def __init__(self, threads: int = 1, precision: str = "fp32") -> None:
        self.threads, self.precision = threads, precision
        super().__init__(
            Worker("supernet.latency.devices.onnxruntime_worker", [str(threads)], threads)
        )

    def describe(self) -> dict[str, Any]:
        """What a time depends on besides the network."""
        return describe(self.threads, self.precision)

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before.

        Raises:
            UserError: when a file is no network or the memory does not suffice.
        """
        models = [self._model(subject) for subject in subjects]
        self.worker.ask(
            {"load": [entry for entry, _ in models]}, b"".join(content for _, content in models)
        )

    def _model(self, subject: Subject) -> tuple[dict[str, Any], bytes]:
        """A subject's entry in a load request, and its bytes."""
        shape = input_shape(subject)
        if isinstance(subject, OnnxFile):
            return {"path": str(subject.path), "shape": shape}, b""
        content = model_of(subject, self.precision).SerializeToString()
        return {"bytes": len(content), "shape": shape}, content
