"""The process of a command: settings that make training faster, and how it ends. No torch."""

import ctypes
import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from supernet.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""


def run_command(
    main: Callable[[], object], way_on: str = "the same command", trains: bool = False
) -> None:
    """Run a command so that bad input and Ctrl-C end in one line, with status 2 and 130.

    ``way_on`` says how a user goes on after Ctrl-C or a full disk. A process that trains no network
    stays as it is: what measures a network must not change how it is computed.
    """
    _quieten_lightning()
    if trains:
        keep_freed_memory()
        remember_kernels()
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        exit_with(str(error))
    except OSError as error:
        _end_output(error, way_on, trains)
    except KeyboardInterrupt:
        _interrupted(way_on)
    except SystemExit as leaving:
        # Lightning turns Ctrl-C into sys.exit(1) while it handles the KeyboardInterrupt.
        if isinstance(leaving.__context__, KeyboardInterrupt):
            _interrupted(way_on)
        raise


def exit_with(message: str) -> NoReturn:
    """End the command over bad input: one line on stderr, status 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(EXIT_USER_ERROR)


def _interrupted(way_on: str) -> NoReturn:
    sys.stderr.write(f"stopped: go on with {way_on}\n")
    raise SystemExit(EXIT_INTERRUPTED)


def _end_output(error: OSError, way_on: str, trains: bool) -> None:
    """End over a full disk, or quietly where the reader, such as head, has seen enough."""
    if isinstance(error, BrokenPipeError) and not trains:
        # Python must not flush into it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if error.errno not in NO_SPACE:
        raise error
    place = f" {error.filename}" if error.filename else ""
    whole = "the last checkpoint is whole: " if trains else ""
    exit_with(
        f"cannot write{place}: {error.strerror}; {whole}free some space and go on with {way_on}"
    )


def _quieten_lightning() -> None:
    """Keep from the user what Lightning says of itself."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*val_dataloader. but have no .validation_step",  # a search validates when it ends
        ".*LeafSpec.* is deprecated",  # Lightning 2.6 under torch 2.15
        ".*does not have many workers",
        ".*smaller than the logging interval",  # epochs of a small data set
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
