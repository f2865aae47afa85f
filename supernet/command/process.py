"""The process of a command: settings that make training faster, and how it ends. No torch."""

import ctypes
import errno
import gc
import logging
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from supernet.command.stopping import STOP, Stopped
from supernet.errors import UserError, one_line

EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128
"""Added to the number of the signal that ended a command, as shells do."""
NEW_OBJECTS = 10_000
"""Objects after which Python looks for garbage. It does so after 700, over a thousand times while
torch and Lightning load: a tenth of that time."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""


def run_command(
    main: Callable[[], object], way_on: str = "the same command", trains: bool = False
) -> None:
    """Run a command so that it ends in one line, whatever ends it.

    Bad input has status 2; a signal that asks for the end (``stopping``) 128 and its number.
    ``way_on`` says how a user goes on after a signal or a full disk. A process that trains no
    network stays as it is: what measures a network must not change how it is computed.
    """
    quieten_lightning()
    gc.set_threshold(NEW_OBJECTS)
    if trains:
        keep_freed_memory()
        remember_kernels()
    try:
        with STOP.listening():
            main()
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not _end(error, way_on, trains):
            raise
    finally:
        for child in multiprocessing.active_children():
            child.kill()  # a loader's, which has nothing to save


def _end(error: BaseException, way_on: str, trains: bool) -> bool:
    """End a command over an error; False for one that the command has not foreseen."""
    # Lightning turns Ctrl-C into sys.exit(1) while it handles the KeyboardInterrupt.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(error, UserError):
        exit_with(str(error))
    if isinstance(cause, KeyboardInterrupt):
        _end_stopped(cause.signal if isinstance(cause, Stopped) else signal.SIGINT, way_on)
    if STOP.asked and isinstance(error, Exception):
        # The signal has also reached what this process relied on.
        _end_stopped(STOP.asked, way_on)
    return isinstance(error, OSError) and _end_output(error, way_on, trains)


def exit_with(message: str) -> NoReturn:
    """End the command over bad input: one line on stderr, status 2; it may quote any value."""
    sys.stderr.write(f"error: {one_line(message)}\n")
    raise SystemExit(EXIT_USER_ERROR)


def stopped_line(number: signal.Signals, way_on: str) -> str:
    """What a command says that a signal has ended."""
    by = "" if number == signal.SIGINT else f" by {number.name}"
    return f"stopped{by}: go on with {way_on}\n"


def _end_stopped(number: signal.Signals, way_on: str) -> NoReturn:
    if is_first_process():
        sys.stderr.write(stopped_line(number, way_on))
    raise SystemExit(EXIT_SIGNAL + number)


def is_first_process() -> bool:
    """Whether this process speaks and writes for all of a run, known before a Trainer is."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name, "0")) == 0 for name in names)


def _end_output(error: OSError, way_on: str, trains: bool) -> bool:
    """End over a full disk, or quietly where the reader, such as head, has seen enough."""
    if isinstance(error, BrokenPipeError) and not trains:
        # Python must not flush into it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    if error.errno not in NO_SPACE:
        return False
    place = f" {error.filename}" if error.filename else ""
    whole = "the last checkpoint is whole: " if trains else ""
    exit_with(
        f"cannot write{place}: {error.strerror}; {whole}free some space and go on with {way_on}"
    )


def quieten_lightning() -> None:
    """Keep from the user what Lightning says of itself; when it is loaded, it forgets that."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*val_dataloader. but have no .validation_step",  # a search validates when it ends
        ".*LeafSpec.* is deprecated",  # Lightning 2.6 under torch 2.15
        ".*does not have many workers",
        r".*add the following callbacks: \['Timer'\]",  # continued without trainer.max_time
        ".*smaller than the logging interval",  # epochs of a small data set
        ".*AMP with fp16 is not supported on CPU",  # which is refused
    ):
        warnings.filterwarnings("ignore", message)


def keep_freed_memory() -> None:
    """Reuse the pages of freed tensors instead of returning them to the system.

    By default glibc maps every tensor of some megabytes anew, and each page of it faults on first
    use: a quarter of a supernet step at 16 px. Other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(M_TOP_PAD, 1 << 26)


def remember_kernels(number: int = 20_000) -> None:
    """Let oneDNN keep a kernel for every shape of the space; it reads this on first use.

    A kernel is compiled per shape, and its cache of 1,024 is smaller than the number of shapes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(number))
