"""Ranks of a run on this machine: when one of them dies, all end, with one line."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from torch.distributed import default_pg_timeout

from supernet.command.process import EXIT_SIGNAL, EXIT_USER_ERROR, stopped_line
from supernet.command.stopping import SIGNALS, Stopped
from supernet.errors import UserError, one_line
from supernet.run.folder import WAY_ON

FIRST_RANK = "SUPERNET_FIRST_RANK"
"""Environment variable: the process that has started this one as a further rank of its run."""
LOOK_S = 0.2
"""Seconds between two looks at the other ranks."""
GRACE_S = 5.0
"""Seconds in which a rank may end by itself after another one; a GPU may wait for that forever."""
SETTLE_S, LEAVE_S = 1.0, 3.0
"""Seconds in which a rank may end by itself where all end, and then, asked to, before it is killed:
one that is killed leaves what its libraries have in $TMPDIR."""
PATIENCE = timedelta(days=1)
"""How long ranks wait for one that tunes a network, asks a teacher or reads all images: more than
the half an hour after which torch takes it for lost. One that dies is noticed at once."""
LOST = ("closed by peer", "reset by peer", "gloo", "NCCL", "Broken pipe", "recvValue", "timed out")
"""What a failed exchange between ranks says of itself."""


class Ranks:
    """The ranks of this machine, as the first one, which starts the others, or as one of these.

    Lightning looks after the others every five seconds and, if one has died, kills all without a
    word. It has no eye on the first.
    """

    def __init__(self) -> None:
        self._launcher: Any = None
        self._others: list[subprocess.Popen[bytes]] = []
        self._ended = threading.Event()
        self.rank, first = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", FIRST_RANK))
        self._first = first if self.rank and first == os.getppid() else 0

    def watch(self, trainer: pl.Trainer) -> None:
        """Look after the other ranks of a trainer that is about to start them."""
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy) and strategy._timeout == default_pg_timeout:
            strategy._timeout = PATIENCE
        self._launcher = strategy.launcher
        if hasattr(self._launcher, "procs"):
            if not self._first:
                os.environ[FIRST_RANK] = str(os.getpid())
            threading.Thread(target=self._look, daemon=True, name="ranks").start()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._take_over()
            # The rank that waits for a dead one may find out by itself.
            if self._end_of_another() and not self._ended.wait(GRACE_S):
                self._end_at_once()

    def _take_over(self) -> None:
        """Take the started ranks from Lightning, whose own watch then finds none."""
        started = self._launcher.procs
        self._others += started
        started.clear()

    def _end_of_another(self) -> BaseException | None:
        """How this rank is to end because another one has died; None if all live."""
        if self._first and os.getppid() != self._first:
            return self._loss(0, self._first, "has died")
        for rank, process in enumerate(self._others, 1):
            if status := process.poll():
                return self._end_with(rank, process.pid, status)
        return None

    def _end_with(self, rank: int, pid: int, status: int) -> BaseException:
        if status in [EXIT_SIGNAL + signal.Signals[name] for name in SIGNALS]:
            return Stopped(status - EXIT_SIGNAL)
        if status == EXIT_USER_ERROR:
            return SystemExit(status)  # it has said why
        killed = f"was killed by {signal.Signals(-status).name}" if status < 0 else ""
        return self._loss(rank, pid, killed or f"has ended with status {status}")

    def _loss(self, rank: int, pid: int, what: str) -> BaseException:
        if self.rank > 1:
            return SystemExit(EXIT_USER_ERROR)  # one of those that are left speaks for all
        return UserError(
            f"rank {rank} (process {pid}) {what}, perhaps for want of memory, so all ranks end; the"
            f" last checkpoint is whole: go on with {WAY_ON}"
        )

    def _end_at_once(self) -> None:
        """End this process, whose main thread waits for a dead rank."""
        end, status = self._end_of_another(), EXIT_USER_ERROR
        self._kill_others()
        if isinstance(end, Stopped):
            status = EXIT_SIGNAL + end.signal
            sys.stderr.write(stopped_line(end.signal, WAY_ON))
        elif isinstance(end, UserError):
            sys.stderr.write(f"error: {end}\n")
        sys.stderr.flush()
        os._exit(status)

    def explain(self, error: Exception) -> None:
        """Let the rank speak that knows best why all end; called with what this one met.

        Raises:
            BaseException: what ends this rank instead, when its error was to lose another one.
        """
        reason = error.__cause__ or error
        lost = any(word in str(reason) for word in LOST) and not isinstance(reason, UserError)
        until = time.monotonic() + GRACE_S
        # The first rank ends the others when it has met the same error, which it tells then.
        while (lost or self._first) and time.monotonic() < until:
            end = self._end_of_another()
            if end and lost:
                raise end from None
            time.sleep(LOOK_S)
        if lost:  # by another launcher than Lightning's, perhaps on another machine
            raise UserError(
                f"another rank, or the connection to it, was lost ({one_line(reason)[:80]}), so"
                f" this one ends; the last checkpoint is whole: go on with {WAY_ON}"
            ) from None

    def end(self, patience_s: float = SETTLE_S) -> None:
        """End the other ranks, which may first end by themselves."""
        self._ended.set()
        try:
            self._wait(patience_s)
            for process in self._others:
                process.terminate()
            self._wait(LEAVE_S)
        finally:
            self._kill_others()

    def _wait(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        for process in self._others:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))

    def _kill_others(self) -> None:
        for process in self._others:
            process.kill()
