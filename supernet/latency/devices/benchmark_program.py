"""What programs that time a model print, and how they are run without waiting for ever."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
from collections.abc import Sequence

from supernet.errors import UserError

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
