"""A program of the user's that times a model file: its run, what it prints, and its device."""

import math
import os
import re
import shlex
import signal
import statistics
import subprocess
from abc import abstractmethod
from collections.abc import Sequence
from typing import IO

from supernet.errors import UserError
from supernet.latency.devices.backends import THREADS, Backend
from supernet.latency.devices.device import Description, Device
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
"""Placeholder of the file's name in a command line; without it, it goes to the end."""


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


def run(
    command: Sequence[str], timeout: float, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing to read unless ``stdin`` is a file.

    Raises:
        UserError: when it is missing or takes more than ``timeout`` seconds.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=stdin,
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


class ProgramDevice(Device):
    """A device on which a program runs once for each visit; the median of what it prints counts."""

    def __init__(self, settings: Backend, files: ModelFiles) -> None:
        self.settings, self.files = settings, files
        self._loaded: list[str] = []

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """One time in ms of each loaded subject of ``order``.

        Raises:
            UserError: when the program fails, takes too long or prints no time.
        """
        return [[self._ms(self._loaded[number])] for number in order]

    def _ms(self, model: str) -> float:
        name, output = self._run(model)
        try:
            return statistics.median(milliseconds(output))
        except UserError as error:
            raise UserError(f"{name} {error}") from None

    @abstractmethod
    def _run(self, model: str) -> tuple[str, str]:
        """The program's name for an error, and what it printed of a loaded model."""


class CommandDevice(ProgramDevice):
    """A command of the user's on this machine.

    Raises:
        UserError: when it is no command line.
    """

    def __init__(self, settings: Backend, files: ModelFiles) -> None:
        super().__init__(settings, files)
        try:
            self.command = shlex.split(settings.runner)
        except ValueError as error:
            raise UserError(f"--runner {settings.runner!r} is no command line: {error}") from None

    def __exit__(self, *_: object) -> None:
        """Nothing is left running."""

    def description(self) -> Description:
        """What a time depends on besides the network: the command stands for its device."""
        return {
            "backend": "command",
            "device": " ".join(self.command),
            "runtime": f"{self.files.kind} files",
            "threads": self.settings.threads,
            "precision": self.files.precision,
            "clock": "the command's",
        }

    def load(self, subjects: Sequence[Subject]) -> None:
        """Make the files of subjects."""
        self._loaded = [str(self.files.path(subject)) for subject in subjects]

    def _run(self, model: str) -> tuple[str, str]:
        threads = str(self.settings.threads)
        words = self.command if MODEL in self.settings.runner else [*self.command, MODEL]
        line = [word.replace(THREADS, threads).replace(MODEL, model) for word in words]
        done, name = run(line, self.settings.timeout), " ".join(line)[:200]
        if done.returncode:
            raise UserError(
                f"{name} ended with status {done.returncode}: {last_words(done)}; mend it, then"
                " the same command goes on where it stopped"
            )
        return name, done.stdout
