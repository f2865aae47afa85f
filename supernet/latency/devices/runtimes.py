"""Runtimes of this machine, each measuring in a process of its own.

What makes times repeatable must be set before a process starts: huge pages for malloc and the
number of OpenMP threads. A crash of a runtime also ends its process alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from supernet.errors import UserError, check_choice
from supernet.latency.devices.device import Description, Device, cpu_model
from supernet.latency.devices.measuring_process import clock_of
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import OnnxFile, Subject, input_shape, refuse_file, to_plain

VISIT_RUNS = 2
"""Runs in a row on each visit: the first finds the caches cold, the other warm."""


class MeasuringProcess:
    """A child process that answers requests (``devices.measuring_process``); the first starts it.

    Args:
        arguments: of its command line.
        threads: for OpenMP.
    """

    def __init__(self, arguments: Sequence[str], threads: int) -> None:
        module = "supernet.latency.devices.measuring_process"
        self._command = [sys.executable, "-m", module, *arguments]
        self._threads = threads

    @cached_property
    def _errors(self) -> IO[bytes]:
        """What it says before it dies: a file, not a pipe, for nobody reads it unless it does."""
        return tempfile.TemporaryFile()

    @cached_property
    def child(self) -> subprocess.Popen[bytes]:
        """The running process."""
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(self._threads),
        )

    def ask(self, header: dict[str, Any], content: bytes = b"") -> Any:
        """The answer to one request.

        Raises:
            UserError: when the process has ended; with its last words.
        """
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(header).encode() + b"\n" + content)
            self.child.stdin.flush()
            return json.loads(self.child.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(
                f"the measuring process ended with status {self.child.wait()}: {self._reason()}"
            ) from None

    def close(self) -> None:
        """End the process, also in the middle of a visit."""
        if "child" in vars(self):
            self.child.kill()
            self.child.communicate()
            self._errors.close()

    def _reason(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "killed from outside, perhaps for want of memory"


def _environment(threads: int) -> dict[str, str]:
    # Which pages of 4 KiB hold a network's data, and so which of it collides in a cache, is chance
    # at every start; huge pages leave less to it.
    tunables = [os.environ.get("GLIBC_TUNABLES"), "glibc.malloc.hugetlb=1"]
    return {
        **os.environ,
        "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
        "OMP_NUM_THREADS": str(threads),
        # The child must find the package wherever this process found it.
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }


class _Runtime(Device):
    """What the runtimes share: a context manager that ends its process.

    Args:
        name: of the runtime, which is also its backend's.
        threads: that compute one network.
        precision: that they compute in.
        arguments: further ones of the process.
    """

    def __init__(self, name: str, threads: int, precision: str, *arguments: str) -> None:
        self.name, self.threads, self.precision = name, threads, precision
        self.process = MeasuringProcess([name, str(threads), *arguments], threads)

    def __exit__(self, *_: object) -> None:
        """End the measuring process, also in the middle of a visit."""
        self.process.close()

    def description(self) -> Description:
        """What a time depends on besides the network."""
        return {
            "backend": self.name,
            "device": cpu_model(),
            "runtime": f"{self.name} {version(self.name)}",
            "threads": self.threads,
            "precision": self.precision,
            "clock": clock_of(self.threads),
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before.

        Raises:
            UserError: when a file is no network or the memory does not suffice.
        """
        entries, contents = zip(*map(self._entry, subjects), strict=True)
        self.process.ask({"load": entries}, b"".join(contents))

    @abstractmethod
    def _entry(self, subject: Subject) -> tuple[dict[str, Any], bytes]:
        """A subject's entry in a load request, and the bytes that belong to it."""

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """Times in ms of ``VISIT_RUNS`` runs in a row of each loaded subject of ``order``."""
        return self.process.ask({"visit": list(order), "runs": VISIT_RUNS})


class OnnxRuntime(_Runtime):
    """ONNX Runtime on the CPU.

    Args:
        threads: that compute one network.
        precision: ``fp32``, or ``int8`` for graphs with quantised convolutions.
    """

    def __init__(self, threads: int = 1, precision: str = "fp32") -> None:
        super().__init__("onnxruntime", threads, precision)

    def _entry(self, subject: Subject) -> tuple[dict[str, Any], bytes]:
        from supernet.latency.models.onnx_int8 import model_of

        shape = input_shape(subject)
        if isinstance(subject, OnnxFile):
            return {"path": str(subject.path), "shape": shape}, b""
        content = model_of(subject, self.precision).SerializeToString()
        return {"bytes": len(content), "shape": shape}, content


class Torch(_Runtime):
    """torch on the CPU or the first GPU.

    Args:
        device: cpu or cuda.
        threads: that compute one network on the CPU.
        precision: fp32, bf16 or fp16.

    Raises:
        UserError: for another device, and for cuda without a GPU.
    """

    def __init__(self, device: str, threads: int, precision: str) -> None:
        import torch

        check_choice("--device of torch", device, ("cpu", "cuda"))
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device is cuda, but torch finds no GPU here: give --device cpu")
        super().__init__("torch", threads, precision, device, precision)
        self.device = device

    def description(self) -> Description:
        """What a time depends on besides the network."""
        import torch

        on_cpu = super().description()
        if self.device == "cpu":
            return on_cpu
        return {
            **on_cpu,
            "device": torch.cuda.get_device_name(),
            "runtime": f"{on_cpu['runtime']}, CUDA {torch.version.cuda}",
            "threads": 0,
            "clock": "gpu",
        }

    def _entry(self, subject: Subject) -> tuple[dict[str, Any], bytes]:
        return to_plain(refuse_file(subject, "torch")), b""


class Executorch(_Runtime):
    """ExecuTorch with XNNPACK on the CPU, through its Python runtime.

    Args:
        files: where programs (.pte) lie; making one takes seconds, so they are kept.
        threads: that compute one network.
    """

    def __init__(self, files: ModelFiles, threads: int) -> None:
        super().__init__("executorch", threads, "fp32")
        self.files = files

    def description(self) -> Description:
        """What a time depends on besides the network."""
        found = super().description()
        return {**found, "runtime": f"{found['runtime']} with XNNPACK"}

    def _entry(self, subject: Subject) -> tuple[dict[str, Any], bytes]:
        return {"path": str(self.files.path(subject)), "shape": input_shape(subject)}, b""
