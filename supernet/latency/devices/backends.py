"""Backend: which device is measured and how, as the command line and a table say it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import read_as, short

PRECISIONS = {
    "onnxruntime": ("fp32", "int8"),
    "torch": ("fp32", "bf16", "fp16"),
    "executorch": ("fp32", "int8"),
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
THREADS = "{threads}"
"""Placeholder of ``--threads`` in the line of a runner."""
MAX_THREADS = 1024
MAX_TIMEOUT = 86_400
"""Seconds; a day."""
COMMAND_LINE_ONLY = ("runner", "device", "timeout")
"""Settings that are never taken from a file."""


def _setting(default: Any, told: str) -> Any:
    """A setting with its default and what the command line says of it."""
    return field(default=default, metadata={"help": told})


@dataclass(frozen=True)
class Backend:
    """Settings of a device; those that a backend does not know must be left alone.

    Raises:
        UserError: naming the setting, its value and what is allowed.
    """

    name: str = _setting("onnxruntime", f"one of {', '.join(PRECISIONS)}")
    threads: int = _setting(1, "threads of one run, default 1; command: {threads} in its line")
    precision: str = _setting("fp32", "fp32 (the default), int8, or for torch bf16 and fp16")
    device: str = _setting("", "torch: cpu or cuda; adb: serial number of the phone")
    runner: str = _setting(
        "", "adb: a program for the phone; command: a line that takes a model file and prints ms"
    )
    files: str = _setting("onnx", f"adb and command: one of {', '.join(FILES)}")
    cores: str = _setting("", "adb: cores of the phone as a hexadecimal mask, such as f0")
    timeout: float = _setting(120.0, "adb and command: seconds of one run, default 120")

    def __post_init__(self) -> None:
        check_choice("backend", self.name, PRECISIONS)
        check_choice(f"--precision of {self.name}", self.precision, PRECISIONS[self.name])
        check_range("--", self, "threads", least=1, most=MAX_THREADS)
        check_range("--", self, "timeout", above=0, most=MAX_TIMEOUT)
        if not re.fullmatch("[0-9a-fA-F]*", self.cores):
            raise UserError(f"--cores is {self.cores!r}, it must be a hexadecimal mask such as f0")
        if self.name in RUNNERS:
            check_choice(f"--files of {self.name}", self.files, FILES)
            if not self.runner:
                raise UserError(f"backend {self.name} needs --runner: {RUNNERS[self.name]}")
            if self.precision == "int8" and self.files == "tflite":
                raise UserError("--precision int8 needs --files onnx or pte, not tflite")
            if self.name == "command" and self.threads > 1 and THREADS not in self.runner:
                raise UserError(
                    f"--threads is {self.threads}, but --runner {self.runner!r} is not told so:"
                    f" write {THREADS} where its line says how many"
                )
        for name in SETTINGS["adb"]:
            unknown = name not in SETTINGS.get(self.name, ())
            if unknown and getattr(self, name) != getattr(Backend, name):
                raise UserError(
                    f"--{name} is {getattr(self, name)!r}, but backend {self.name} has none: leave"
                    " it out"
                )

    def plain(self) -> dict[str, Any]:
        """The settings that times depend on and that differ from the defaults, as JSON.

        A program, the serial number of a phone and the patience with both are not among them: a
        description names the program and the phone, and a table must not bring a command line.
        """
        left_out = {"runner", "timeout", "device" if self.name in RUNNERS else ""}
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (
                (value := getattr(self, field.name)) != field.default and field.name not in left_out
            )
            or field.name == "name"
        }

    @staticmethod
    def of_table(settings: Mapping[str, Any], given: Mapping[str, Any]) -> Backend:
        """The backend of a table's ``plain`` settings and of what the command line gives.

        A table may come from a stranger: no program is run, no device opened and no time waited
        because a file says so.

        Raises:
            UserError: naming what is wrong, or what only the command line may say.
        """
        for name in COMMAND_LINE_ONLY:
            if name in settings and name not in given:
                raise UserError(
                    f"fingerprint.settings.{name} is {short(settings[name])}, but no file chooses a"
                    f" program, a device or a time limit: give --{name} yourself if you trust it"
                )
        return read_as(Backend, {**settings, **given}, "fingerprint.settings.", partial=True)
