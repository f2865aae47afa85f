"""CommandDevice: any program of the user's that takes a model file and prints milliseconds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.latency.devices.benchmark_program import last_words, milliseconds, run
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import Subject

MODEL = "{model}"
"""Where the file's name goes in a command line; at its end without it."""


class CommandDevice:
    """Runs a command for each visit; the median of the times that it prints counts.

    Args:
        files: where models lie.
        command: program and arguments.
        threads: that the command uses, as the user says; part of the table's description.
        timeout: of one run of the command, in seconds.
    """

    def __init__(
        self, files: ModelFiles, command: Sequence[str], threads: int, timeout: float
    ) -> None:
        self.files, self.command = files, list(command)
        self.threads, self.timeout = threads, timeout
        self._loaded: list[Path] = []

    def __enter__(self) -> CommandDevice:
        """Return the device itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left running."""

    def describe(self) -> dict[str, Any]:
        """What a time depends on besides the network: the command stands for its device."""
        return {
            "backend": "command",
            "device": " ".join(self.command),
            "runtime": f"{self.files.kind} files",
            "threads": self.threads,
            "precision": self.files.precision,
            "clock": "the command's",
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Make the files of subjects."""
        self._loaded = [self.files.path(subject) for subject in subjects]

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """One time in ms of each loaded subject of ``order``.

        Raises:
            UserError: when the command fails, takes too long or prints no time.
        """
        return [[self._time(self._loaded[number])] for number in order]

    def _time(self, path: Path) -> float:
        line = [word.replace(MODEL, str(path)) for word in self.command]
        if line == self.command:
            line.append(str(path))
        done = run(line, self.timeout)
        if done.returncode:
            raise UserError(
                f"{' '.join(line)[:200]} ended with status {done.returncode}: {last_words(done)};"
                " mend it, then the same command goes on where it stopped"
            )
        try:
            return statistics.median(milliseconds(done.stdout))
        except UserError as error:
            raise UserError(f"{' '.join(line)[:200]} {error}") from None
