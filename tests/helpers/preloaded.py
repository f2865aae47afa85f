"""Processes of commands that need not load torch and Lightning: forks of one that has.

A command loads them in a dozen seconds of a processor, and our own modules in one. Beside that it
is a process as any: with its own memory, for signals to end.
"""

import atexit
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path

from tests.helpers.preload_server import Request

ROOT = Path(__file__).parents[2]


@functools.cache
def server():
    """The socket at which a process waits that has the libraries loaded."""
    here, there = socket.socketpair()
    line = [sys.executable, "-m", "tests.helpers.preload_server", str(there.fileno())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        line, cwd=ROOT, env=environment, pass_fds=[there.fileno()], stdout=subprocess.DEVNULL
    )
    there.close()

    def end():
        here.close()
        process.wait()

    atexit.register(end)
    return here


class Command:
    """``python -m MODULE ARGUMENTS``, with what tests use of a ``subprocess.Popen``.

    Args:
        module: what is run.
        arguments: its words.
        cwd: where, by default in the checkout's root.
        env: its environment, by default that of this process.
        joined: whether its errors go where its output goes.
        warns: whether it tells of warnings.
        start_new_session: whether it leads a session, and so a group of processes, of its own.
    """

    returncode = None

    def __init__(
        self,
        module,
        *arguments,
        cwd=ROOT,
        env=None,
        joined=False,
        warns=False,
        start_new_session=False,
    ):
        words = [str(one) for one in arguments]
        own = dict(os.environ if env is None else env)
        request = Request(module, words, str(cwd), own, warns, start_new_session)
        output, errors = os.pipe(), os.pipe()
        self.stdout, self.stderr = (os.fdopen(reading) for reading, _ in (output, errors))
        self.channel, there = Pipe()
        with Path(os.devnull).open() as nothing, there:
            streams = [nothing.fileno(), output[1], output[1] if joined else errors[1]]
            socket.send_fds(server(), [b"."], [*streams, there.fileno()])
            self.channel.send(request)
            self.pid = self.channel.recv()
        for _, writing in (output, errors):
            os.close(writing)

    def poll(self):
        return self.wait(0)

    def wait(self, timeout=None):
        """Its status once it has ended; None if it has not after so many seconds."""
        if self.returncode is None and self.channel.poll(timeout):
            self.returncode = os.waitstatus_to_exitcode(self.channel.recv())
            self.channel.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Output and errors, once it has ended."""
        until = timeout and time.monotonic() + timeout
        with ThreadPoolExecutor(2) as threads, self.stdout, self.stderr:
            read = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                told = [one.result(timeout) for one in read]
            except TimeoutError:
                self.kill()
                raise
        self.wait(until and max(0, until - time.monotonic()))
        return tuple(told)


def run(module, *arguments, **settings):
    """A command that has ended, as ``subprocess.run`` gives it."""
    process = Command(module, *arguments, **settings)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(arguments, process.wait(), output, errors)
