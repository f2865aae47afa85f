"""Runtimes of this machine, each measuring in a process of its own.

What makes times repeatable must be set before a process starts: huge pages for malloc and the
number of OpenMP threads. A crash of a runtime also ends its process alone.
"""

import json
import os
import subprocess
import sys
import tempfile
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from supernet.errors import UserError, check_choice
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import Description, Device, cpu_model
from supernet.latency.devices.measuring_process import clock_of
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import NetworkFile, Subject, input_shape, refuse_file, to_plain

VISIT_RUNS = 2
"""Runs in a row on each visit: the first finds the caches cold, the other warm."""


class _Runtime(Device):
    """A runtime in a child process (``measuring_process``), started by the first request."""

    def __init__(self, settings: Backend = Backend(), *arguments: str) -> None:
        self.settings = settings
        self._arguments = [settings.name, str(settings.threads), *arguments]

    @cached_property
    def _errors(self) -> IO[bytes]:
        """What it says before it dies: a file, not a pipe, for nobody reads it unless it does."""
        return tempfile.TemporaryFile()

    @cached_property
    def child(self) -> subprocess.Popen[bytes]:
        """The running process."""
        # Which pages of 4 KiB hold a network's data, and so which of it collides in a cache, is
        # chance at every start; huge pages leave less to it.
        tunables = [os.environ.get("GLIBC_TUNABLES"), "glibc.malloc.hugetlb=1"]
        settings = {
            "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
            "OMP_NUM_THREADS": str(self.settings.threads),
            # The child must find the package wherever this process found it.
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "supernet.latency.devices.measuring_process", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | settings,
        )

    def __exit__(self, *_: object) -> None:
        """End the process, also in the middle of a visit."""
        if "child" in vars(self):
            self.child.kill()
            self.child.communicate()
            self._errors.close()

    def description(self) -> Description:
        """What a time depends on besides the network."""
        name, threads = self.settings.name, self.settings.threads
        return {
            "backend": name,
            "device": cpu_model(),
            "runtime": f"{name} {version(name)}",
            "threads": threads,
            "precision": self.settings.precision,
            "clock": clock_of(threads),
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before.

        Raises:
            UserError: when a file is no network or the memory does not suffice.
        """
        self._ask({"load": list(map(self._entry, subjects))})

    @abstractmethod
    def _entry(self, subject: Subject) -> dict[str, Any]:
        """A subject's entry in a load request."""

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """Times in ms of ``VISIT_RUNS`` runs in a row of each loaded subject of ``order``."""
        return self._ask({"visit": list(order), "runs": VISIT_RUNS})

    def _ask(self, request: dict[str, Any]) -> Any:
        """The answer to one request.

        Raises:
            UserError: when the process has ended; with its last words.
        """
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(request).encode() + b"\n")
            self.child.stdin.flush()
            return json.loads(self.child.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            status = self.child.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "killed from outside, perhaps for want of memory"
            raise UserError(f"the measuring process ended with status {status}: {reason}") from None


class OnnxRuntime(_Runtime):
    """ONNX Runtime on the CPU; int8 is for graphs with quantised convolutions."""

    def _entry(self, subject: Subject) -> dict[str, Any]:
        from supernet.latency.models.onnx_int8 import model_of

        shape = input_shape(subject)
        if isinstance(subject, NetworkFile):
            return {"path": str(subject.path), "shape": shape}
        content = model_of(subject, self.settings.precision).SerializeToString()
        return {"model": b64encode(content).decode(), "shape": shape}


class Torch(_Runtime):
    """torch on the CPU or the first GPU.

    Raises:
        UserError: for another device, and for cuda without a GPU.
    """

    def __init__(self, settings: Backend) -> None:
        import torch

        self.device = settings.device or "cpu"
        check_choice("--device of torch", self.device, ("cpu", "cuda"))
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device is cuda, but torch finds no GPU here: give --device cpu")
        super().__init__(settings, self.device, settings.precision)

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

    def _entry(self, subject: Subject) -> dict[str, Any]:
        return to_plain(refuse_file(subject, "torch"))


class Executorch(_Runtime):
    """ExecuTorch with XNNPACK on the CPU, through its Python runtime.

    Making a program (.pte) takes seconds, so they are kept among ``files``.
    """

    def __init__(self, settings: Backend, files: ModelFiles) -> None:
        super().__init__(settings)
        self.files = files

    def description(self) -> Description:
        """What a time depends on besides the network."""
        found = super().description()
        return {**found, "runtime": f"{found['runtime']} with XNNPACK"}

    def _entry(self, subject: Subject) -> dict[str, Any]:
        return {"path": str(self.files.path(subject)), "shape": input_shape(subject)}
