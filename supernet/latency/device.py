"""This machine as a measuring device: the parent's side of ``supernet.latency.timing``."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from supernet.errors import UserError
from supernet.latency.onnx_graph import network_model, part_model
from supernet.parts import Part
from supernet.spec import NetSpec


@dataclass(frozen=True)
class OnnxFile:
    """An exported network: images (1, 3, R, R) in."""

    path: Path
    resolution: int

    @property
    def key(self) -> str:
        """The name under which its times are kept."""
        return str(self.path)


Subject = Part | NetSpec | OnnxFile
"""What a device can time."""


class Device(Protocol):
    """Loads subjects and times single runs of them."""

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before."""

    def visit(self, order: Sequence[int], runs: int) -> list[list[float]]:
        """Times in ms of ``runs`` runs in a row of each loaded subject of ``order``."""


def subject_key(subject: Subject) -> str:
    """The name under which a subject's times are kept."""
    return subject.to_json() if isinstance(subject, NetSpec) else subject.key


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """What a measured time depends on besides the network."""
    return {"cpu": cpu_model(), "onnxruntime": version("onnxruntime"), "threads": 1, "batch": 1}


class ThisMachine:
    """ONNX Runtime on one thread of this machine, in a process of its own.

    Use it as a context manager: leaving it, for whatever reason, ends the process.
    """

    def __init__(self) -> None:
        """Start the measuring process."""
        # A file, not a pipe: nobody reads it unless the process dies.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supernet.latency.timing"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env=_environment(),
        )  # fmt: skip

    def __enter__(self) -> ThisMachine:
        """Return the device itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the measuring process, also in the middle of a visit."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before.

        Raises:
            UserError: when a file is no network or the memory does not suffice.
        """
        models = [_model(subject) for subject in subjects]
        header = {"load": [entry for entry, _ in models]}
        self._ask(header, b"".join(content for _, content in models))

    def visit(self, order: Sequence[int], runs: int) -> list[list[float]]:
        """Times in ms of ``runs`` runs in a row of each loaded subject of ``order``."""
        return self._ask({"visit": list(order), "runs": runs}, b"")

    def _ask(self, header: dict[str, Any], content: bytes) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(header).encode() + b"\n" + content)
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(
                f"the measuring process ended with status {self._process.wait()}: {self._reason()}"
            ) from None

    def _reason(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "killed from outside, perhaps for want of memory"


def _environment() -> dict[str, str]:
    tunables = [os.environ.get("GLIBC_TUNABLES"), "glibc.malloc.hugetlb=1"]
    return {
        **os.environ,
        "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
        "OMP_NUM_THREADS": "1",
        # The child must find the package wherever this process found it.
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }


def _model(subject: Subject) -> tuple[dict[str, Any], bytes]:
    """A subject's entry in a load request, and its bytes."""
    if isinstance(subject, OnnxFile):
        shape = (1, 3, subject.resolution, subject.resolution)
        return {"path": str(subject.path), "shape": shape}, b""
    if isinstance(subject, NetSpec):
        content = network_model(subject).SerializeToString()
        return {"bytes": len(content), "shape": (1, 3, *[subject.resolution] * 2)}, content
    content = part_model(subject).SerializeToString()
    shape = (1, subject.inputs, subject.size, subject.size)
    return {"bytes": len(content), "shape": shape}, content
