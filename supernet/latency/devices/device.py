"""Device: what loads subjects and times single runs of them."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from supernet.latency.models.subject import Subject


class Device(Protocol):
    """Loads subjects and times single runs of them; leaving its context frees what it holds."""

    def __enter__(self) -> Device:
        """Return the device itself."""

    def __exit__(self, *_: object) -> None:
        """Free what it holds, also in the middle of a visit."""

    def description(self) -> dict[str, Any]:
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


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
