"""Worker: a measuring process of its own, seen from the program that asks it.

What makes times repeatable must be set before a process starts: huge pages for malloc and the
number of OpenMP threads. A crash of a runtime also ends the worker alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

from supernet.errors import UserError


class Worker:
    """A child process that answers requests (``devices.worker_loop``); the first starts it.

    Args:
        module: what it runs, as ``python -m`` takes it.
        arguments: further ones of its command line.
        threads: for OpenMP.
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), threads: int = 1) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._threads = threads

    @cached_property
    def _errors(self) -> IO[bytes]:
        """What it says before it dies: a file, not a pipe, for nobody reads it unless it does."""
        return tempfile.TemporaryFile()

    @cached_property
    def process(self) -> subprocess.Popen[bytes]:
        """The running child."""
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(self._threads),
        )

    def ask(self, header: dict[str, Any], content: bytes = b"") -> Any:
        """The answer to one request.

        Raises:
            UserError: when the process has ended; with its last words.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(header).encode() + b"\n" + content)
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(
                f"the measuring process ended with status {self.process.wait()}: {self._reason()}"
            ) from None

    def close(self) -> None:
        """End the process, also in the middle of a visit."""
        if "process" in vars(self):
            self.process.kill()
            self.process.communicate()
            self._errors.close()

    def _reason(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "killed from outside, perhaps for want of memory"


RUNS = 2
"""In a row on each visit: the first finds the caches cold, the other warm."""


class WorkerDevice:
    """What devices that measure in a worker share; leaving their context ends it."""

    def __init__(self, worker: Worker) -> None:
        """Keep the worker; it starts when it is first asked."""
        self.worker = worker

    def __enter__(self) -> Self:
        """Return the device itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the measuring process, also in the middle of a visit."""
        self.worker.close()

    def visit(self, order: Sequence[int]) -> list[list[float]]:
        """Times in ms of ``RUNS`` runs in a row of each loaded subject of ``order``."""
        return self.worker.ask({"visit": list(order), "runs": RUNS})


def _environment(threads: int) -> dict[str, str]:
    tunables = [os.environ.get("GLIBC_TUNABLES"), "glibc.malloc.hugetlb=1"]
    return {
        **os.environ,
        "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
        "OMP_NUM_THREADS": str(threads),
        # The child must find the package wherever this process found it.
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
