"""Device: what loads subjects and times single runs of them."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from supernet.errors import UserError
from supernet.fields import read_as
from supernet.parts import Body, Head, Part, Stem
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
    """Loads subjects and times single runs of them; leaving its context frees what it holds."""

    def __enter__(self) -> Device:
        """Return the device itself."""

    def __exit__(self, *_: object) -> None:
        """Free what it holds, also in the middle of a visit."""

    def describe(self) -> dict[str, Any]:
        """What a time depends on besides the network, as ``DESCRIPTION`` lists it."""

    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before."""

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """Times in ms of a few runs in a row of each loaded subject of ``order``."""


DESCRIPTION = ("backend", "device", "runtime", "threads", "precision", "clock")
"""What a description says: backend's name, processor or phone, runtime with its version, threads,
precision, and whether times are of the ``cpu`` or of the ``wall`` clock."""


def device_name(description: Mapping[str, Any]) -> str:
    """A description in words."""
    threads = description["threads"]
    more = [] if description["precision"] == "fp32" else [description["precision"]]
    counted = [f"{threads} thread{'s' if threads > 1 else ''}"] if threads else []
    return ", ".join([description["device"], description["runtime"], *counted, *more])


def subject_key(subject: Subject) -> str:
    """The name under which a subject's times are kept."""
    return subject.to_json() if isinstance(subject, NetSpec) else subject.key


def short_key(subject: Part | NetSpec) -> str:
    """A name for a file that holds the subject."""
    key = subject_key(subject)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"network_{digest}" if isinstance(subject, NetSpec) else f"{key}_{digest[:6]}"


def input_shape(subject: Subject) -> tuple[int, int, int, int]:
    """Batch, channels, height and width that a subject takes."""
    if isinstance(subject, NetSpec | OnnxFile):
        return (1, 3, subject.resolution, subject.resolution)
    return (1, subject.inputs, subject.size, subject.size)


_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Stem, Body, Head)}


def to_plain(subject: Part | NetSpec) -> dict[str, Any]:
    """A part or network as a JSON object, for another process."""
    if isinstance(subject, NetSpec):
        return {"network": subject.to_json()}
    return {"part": type(subject).__name__, "fields": dataclasses.asdict(subject)}


def from_plain(fields: Mapping[str, Any]) -> Part | NetSpec:
    """The inverse of ``to_plain``."""
    if "network" in fields:
        return NetSpec.from_json(fields["network"])
    return read_as(_KINDS[fields["part"]], fields["fields"])


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def refuse_file(subject: Subject, backend: str) -> Part | NetSpec:
    """The subject, unless it is a file that only ONNX Runtime takes.

    Raises:
        UserError: naming file and backend.
    """
    if isinstance(subject, OnnxFile):
        raise UserError(f"{backend} cannot run {subject.path}: measure it with onnxruntime")
    return subject
