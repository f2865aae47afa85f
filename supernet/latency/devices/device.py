"""Device: what loads subjects and times single runs of them."""

import platform
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypedDict

from supernet.latency.models.subject import Subject


class Description(TypedDict):
    """What a time depends on besides the network."""

    backend: str
    device: str
    """The processor or phone."""
    runtime: str
    """The runtime with its version."""
    threads: int
    """Threads that compute one network; zero on a GPU."""
    precision: str
    clock: str
    """The clock of the times: ``cpu``, ``wall``, ``gpu`` or that of a user's program."""


class Device(AbstractContextManager["Device"]):
    """Loads subjects and times single runs of them; leaving its context frees what it holds."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Free what it holds, also in the middle of a visit."""

    @abstractmethod
    def description(self) -> Description:
        """What a time depends on besides the network."""

    @abstractmethod
    def load(self, subjects: Sequence[Subject]) -> None:
        """Load subjects in place of those loaded before."""

    @abstractmethod
    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """Times in ms of a few runs in a row of each loaded subject of ``order``."""


def device_name(description: Mapping[str, Any]) -> str:
    """A description in words."""
    threads = description["threads"]
    more = [] if description["precision"] == "fp32" else [description["precision"]]
    counted = [f"{threads} thread{'s' if threads > 1 else ''}"] if threads else []
    return ", ".join([description["device"], description["runtime"], *counted, *more])


def precision_of(name: str) -> str:
    """The precision in a device's name, as ``device_name`` puts it."""
    last = name.rpartition(", ")[2]
    return last if last in ("int8", "bf16", "fp16") else "fp32"


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
