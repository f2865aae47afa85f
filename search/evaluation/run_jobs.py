"""Jobs that are whole runs: commands with a folder of their own, each done once."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from search.evaluation.jobs import J, Row
from supernet.errors import UserError

LOOK_S = 0.2
"""Seconds between looks at the processes."""


@dataclass(frozen=True)
class RunCommands:
    """What makes a run: commands of ``python -m``, one after the other, and their folder."""

    folder: Path
    commands: Sequence[Sequence[str]]
    """Words of each; they go on where they were stopped."""

    @property
    def log(self) -> Path:
        """File of what they print."""
        return self.folder.with_suffix(".log")


@dataclass(frozen=True)
class Runs(Generic[J]):
    """Runs that do jobs; those under way end with this process's signals.

    A run that was stopped goes on in its folder when it is asked for again.
    """

    commands: Callable[[J], RunCommands]
    """What does a job."""
    result: Callable[[J, Path], Row]
    """The row of a job whose commands have left a folder."""
    processes: int = 1
    """Runs at a time."""

    def __call__(self, jobs: Sequence[J]) -> Iterator[Row]:
        """Rows of jobs in the order in which their runs end.

        Raises:
            UserError: the last line of a run that failed.
        """
        runs = {job: self.commands(job) for job in jobs}
        for job in ended_runs(runs, self.processes):
            yield self.result(job, runs[job].folder)


def ended_runs(runs: Mapping[J, RunCommands], processes: int) -> Iterator[J]:
    """Names of runs in the order in which they end; those under way end with this iterator.

    Args:
        runs: by their names.
        processes: runs at a time.

    Raises:
        UserError: the last line of a run that failed.
    """
    waiting, under_way = [*runs], dict[J, _UnderWay]()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < processes:
                name = waiting.pop(0)
                under_way[name] = _UnderWay(runs[name])
            for name in [name for name, one in under_way.items() if one.has_ended()]:
                del under_way[name]
                yield name
            time.sleep(LOOK_S)
    finally:
        for one in under_way.values():
            one.stop()


class _UnderWay:
    """A run under way: its commands, of which one has a process."""

    def __init__(self, run: RunCommands) -> None:
        self.run, self.left = run, [*run.commands]
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        self.process = self._next()

    def _next(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", *self.left.pop(0)]
        with self.run.log.open("ab") as log:
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def has_ended(self) -> bool:
        """Whether all commands have ended; begins the next one where one has."""
        status = self.process.poll()
        if status is None:
            return False
        if status:
            last = self.run.log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise UserError(f"{self.run.folder} ended with status {status}: {last}; {self.run.log}")
        if not self.left:
            return True
        self.process = self._next()
        return False

    def stop(self) -> None:
        """Ask the process to stop, which keeps its state, and wait until it has."""
        self.process.terminate()
        self.process.wait()
