"""A program of the user's that times a model file: its run, what it prints, and its device."""

from __future__ import annotations

import math
import os
import re
import signal
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import Subject

_NUMBER = r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)"
_KNOWN = (
    # ONNX Runtime's onnxruntime_perf_test; the median is less noisy than the mean it also prints.
    (re.compile(rf"P50 Latency: {_NUMBER} s"), 1e3),
    # LiteRT's and TensorFlow Lite's benchmark_model.
    (re.compile(rf"Inference timings in us:.*Inference \(avg\): {_NUMBER}"), 1e-3),
)
# ExecuTorch's executor_runner.
_TOTAL = re.compile(rf"executed successfully ([0-9]+) time\(s\) in {_NUMBER} ms")
_NUMBERS = re.compile(rf"\s*{_NUMBER}(?:[\s,;]+{_NUMBER})*[\s,;]*(?:ms)?\s*")
ALLOWED = (
    "milliseconds alone on a line, or what benchmark_model, onnxruntime_perf_test and"
    " executor_runner print"
)
MODEL = "{model}"
"""Where the file's name goes in a command line; at its end without it."""


def milliseconds(output: str) -> list[float]:
    """The times that a program printed, in ms of one run.

    Args:
        output: all of it; lines that hold other things than numbers alone are passed over.

    Raises:
        UserError: when it holds no time, or one that no run takes.
    """
    found = _known(output)
    if not found:
        lines = [line for line in output.splitlines() if _NUMBERS.fullmatch(line)]
        found = [float(text) for line in lines for text in re.findall(_NUMBER, line)]
    if not found:
        last = (output.strip().splitlines() or ["nothing"])[-1]
        raise UserError(
            f"printed no time: its last line is {last[:100]!r}; it must print {ALLOWED}"
        )
    if not all(0 < ms < math.inf for ms in found):
        raise UserError(f"printed {min(found):g} ms: every time must be above 0")
    return found


def _known(output: str) -> list[float]:
    if total := _TOTAL.search(output):
        return [float(total[2]) / int(total[1])] if int(total[1]) else []
    for pattern, factor in _KNOWN:
        if match := pattern.search(output):
            return [float(match[1]) * factor]
    return []


def run(command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        command: program and arguments.
        timeout: in seconds.

    Raises:
        UserError: when it is missing or takes too long.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        output, errors = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{' '.join(command)[:150]} gave no answer within {timeout:g} s; if it needs longer,"
            " raise --timeout"
        ) from None
    finally:
        if process.returncode is None:  # also what it started, whatever ended the waiting
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program printed, for a message about its failure."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1][:150] if lines else "it printed nothing"


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

    def description(self) -> dict[str, Any]:
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
