"""Backend: which device is measured and how, as the command line and a table say it."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import read_as
from supernet.latency.devices.android_phone import Phone
from supernet.latency.devices.benchmark_program import CommandDevice
from supernet.latency.devices.device import Device
from supernet.latency.devices.runtimes import Executorch, OnnxRuntime, Torch
from supernet.latency.models.model_files import ModelFiles

PRECISIONS = {
    "onnxruntime": ("fp32", "int8"),
    "torch": ("fp32", "bf16", "fp16"),
    "executorch": ("fp32",),
    "adb": ("fp32", "int8"),
    "command": ("fp32", "int8"),
}
"""What each backend can compute in."""
FILES = ("onnx", "pte", "tflite")
"""The model files that a user's program may take."""
SETTINGS = {
    "torch": ("device",),
    "adb": ("device", "runner", "files", "cores", "timeout"),
    "command": ("runner", "files", "timeout"),
}
"""The settings that only some backends know, by backend."""
RUNNERS = {
    "adb": "the path of a program for the phone",
    "command": "a program that takes a model file and prints milliseconds, such as"
    " './time_on_board.sh {model}'",
}
_EXECUTORCH = ("executorch", "`pip install mnasnet-search[executorch]`")
EXTRAS = {
    "executorch": _EXECUTORCH,
    "pte": _EXECUTORCH,
    "tflite": ("litert_torch", "an environment with torch below 2.15 and litert-torch"),
}
"""Module that a backend or a kind of file needs, and how to get it."""
MAX_TIMEOUT = 86_400
"""Seconds; a day."""


@dataclass(frozen=True)
class Backend:
    """Settings of a device; those that a backend does not know must be left alone.

    Raises:
        UserError: naming the setting, its value and what is allowed.
    """

    name: str = "onnxruntime"
    threads: int = 1
    precision: str = "fp32"
    device: str = ""
    """torch: cpu or cuda; adb: serial number of the phone, needed where several are plugged in."""
    runner: str = ""
    """adb: the phone's own program; command: the line to run. Both print milliseconds."""
    files: str = "onnx"
    """adb and command: the kind of model file."""
    cores: str = ""
    """adb: hexadecimal mask of the phone's cores, such as f0."""
    timeout: float = 120.0
    """adb and command: seconds after which a run that gave no answer has failed."""

    def __post_init__(self) -> None:
        """Check what can be checked without the device."""
        check_choice("backend", self.name, PRECISIONS)
        check_choice(f"--precision of {self.name}", self.precision, PRECISIONS[self.name])
        check_range("--", self, "threads", least=1)
        check_range("--", self, "timeout", above=0, most=MAX_TIMEOUT)
        if not re.fullmatch("[0-9a-fA-F]*", self.cores):
            raise UserError(f"--cores is {self.cores!r}, it must be a hexadecimal mask such as f0")
        if self.name in RUNNERS:
            check_choice(f"--files of {self.name}", self.files, FILES)
            if not self.runner:
                raise UserError(f"backend {self.name} needs --runner: {RUNNERS[self.name]}")
            if self.precision == "int8" and self.files != "onnx":
                raise UserError(f"--precision int8 needs --files onnx, not {self.files}")
        for name in SETTINGS["adb"]:
            unknown = name not in SETTINGS.get(self.name, ())
            if unknown and getattr(self, name) != getattr(Backend, name):
                raise UserError(
                    f"--{name} is {getattr(self, name)!r}, but backend {self.name} has none: leave"
                    " it out"
                )

    def open(self, models: Path) -> Device:
        """The device; what it needs is checked now, and started when it is first asked.

        Args:
            models: a folder for model files, for backends that need them.

        Raises:
            UserError: when a package, a program or the device is missing.
        """
        for need in (self.name, self.files):
            if need in EXTRAS and importlib.util.find_spec(EXTRAS[need][0]) is None:
                raise UserError(f"{need} needs {EXTRAS[need][1]}")
        files = ModelFiles(models, self.files, self.precision)
        if self.name == "onnxruntime":
            return OnnxRuntime(self.threads, self.precision)
        if self.name == "torch":
            return Torch(self.device or "cpu", self.threads, self.precision)
        if self.name == "executorch":
            return Executorch(ModelFiles(models, "pte"), self.threads)
        if self.name == "adb":
            runner = Path(self.runner)
            return Phone(files, runner, self.device, self.threads, self.cores, self.timeout)
        return CommandDevice(files, self._command(), self.threads, self.timeout)

    def _command(self) -> list[str]:
        try:
            return shlex.split(self.runner)
        except ValueError as error:
            raise UserError(f"--runner {self.runner!r} is no command line: {error}") from None

    def plain(self) -> dict[str, Any]:
        """The settings that times depend on and that differ from the defaults, as JSON.

        A program, the serial number of a phone and the patience with both are not among them: a
        description names the program and the phone, and a table must not bring a command line.
        """
        default = {field.name: field.default for field in dataclasses.fields(Backend)}
        left_out = {"runner", "timeout", "device" if self.name in RUNNERS else ""}
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name == "name" or (value != default[name] and name not in left_out)
        }

    @staticmethod
    def from_plain(fields: Mapping[str, Any]) -> Backend:
        """The inverse of ``plain``.

        Raises:
            UserError: naming what is wrong.
        """
        return read_as(Backend, dict(fields), "backend.", partial=True)
