"""Signals that ask a command to stop: Ctrl-C, and what a shell, a scheduler or a system sends.

``Stopped`` is raised at once, or between two steps where a training would lose its work. No torch.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Slurm warns of its time limit with SIGUSR1 or SIGUSR2, SGE with SIGXCPU."""
REPEAT_S = 1.0
"""Seconds within which a signal that comes again, say from a shell and a launcher, is the same."""
WORKER_S = 30
"""Seconds that a loader's process outlives SIGTERM, so that a step under way can be finished."""


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to stop.

    It is a KeyboardInterrupt, which libraries hand on as the user's wish.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


class StopRequests:
    """What this process has been asked by signals; a second one, a second later, is urgent."""

    asked: signal.Signals | None = None
    """The first signal that came."""
    is_listening = False
    """Whether this process answers signals."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._asked_at = 0.0
        self._held = False
        self._hook = sys.unraisablehook

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer signals until the block ends, and for good once one has come."""
        self.asked, self._held, self.is_listening = None, False, True
        before = {number: signal.getsignal(number) for number in _numbers()}
        self._hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
        self._listen()
        try:
            yield
        finally:
            self.is_listening = False
            sys.unraisablehook = self._hook
            if not self.asked and _in_main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler or signal.SIG_DFL)

    def _listen(self) -> None:
        """Take the signals, where a process may: Python has them in its main thread only.

        Who has started a command with nohup wants it to outlive SIGHUP.
        """
        if not _in_main_thread():
            return
        self._process = os.getpid()
        for number in _numbers():
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._answer)

    def hold(self) -> None:
        """From now on only note that a signal came: ``asked`` is looked at between steps."""
        self._held = self.is_listening

    def release(self) -> None:
        """Stop at once, as usual, from now on; also if asked before."""
        self._held = False
        if self.asked:
            raise Stopped(self.asked)

    def _answer(self, number: int, _: Any) -> None:
        if os.getpid() != self._process:  # a forked process is its parent's affair
            _leave_fork(number)
            return
        now = time.monotonic()
        if not self.is_listening:
            return
        if self.asked and now - self._asked_at < REPEAT_S:
            return
        urgent = self.asked is not None
        self.asked = self.asked or signal.Signals(number)
        self._asked_at = now
        if urgent or not self._held:
            raise Stopped(self.asked)

    def _raise_again(self, lost: Any) -> None:
        """Send a signal again that came where Python drops exceptions, such as in a destructor."""
        if lost.exc_type is not Stopped:
            self._hook(lost)
            return
        self._asked_at = 0.0
        again = threading.Timer(0.1, os.kill, (os.getpid(), lost.exc_value.signal))
        again.daemon = True
        again.start()


STOP = StopRequests()
"""Of this process."""


def _leave_fork(number: int) -> None:
    if number != signal.SIGINT:  # which reaches every process of a terminal
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def leave_signals_to_parent() -> None:
    """Let a process that serves another be ended by that one, by SIGTERM alone.

    A terminal and a scheduler send their signals to every process of a command.
    """
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def outlive_step() -> None:
    """Let a loader's process outlive the SIGTERM that its parent takes to the end of a step.

    The second one ends it, or the first after ``WORKER_S``.
    """
    leave_signals_to_parent()
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(WORKER_S)


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in SIGNALS]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
