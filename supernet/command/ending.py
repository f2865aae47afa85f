"""How a command speaks and ends: bad input in one line and status 2, Ctrl-C likewise and 130."""

from __future__ import annotations

import errno
import logging
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from supernet.command.arguments import EXIT_INTERRUPTED, EXIT_USER_ERROR
from supernet.command.process import keep_freed_memory, remember_kernels
from supernet.errors import UserError

CONTINUE = "--ckpt_path last"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def one_line(message: str) -> str:
    """A message of any number of lines as one."""
    return " ".join(message.split())


@rank_zero_only
def say(line: str) -> None:
    """Print a line at once, on the first process; Lightning's own are kept from the user."""
    print(line, flush=True)  # noqa: T201 - this is where commands speak


def exit_with(message: str) -> NoReturn:
    """End the command over bad input: one line on stderr, status 2."""
    print(f"error: {message}", file=sys.stderr)  # noqa: T201 - a command's own last line
    raise SystemExit(EXIT_USER_ERROR)


def run_command(
    main: Callable[[], object], way_on: str = f"the same command and {CONTINUE}"
) -> None:
    """Run a command so that bad input and Ctrl-C end in one line, not in a traceback.

    Args:
        main: the command.
        way_on: how a user goes on after Ctrl-C or a full disk.
    """
    keep_freed_memory()
    remember_kernels()
    _quieten()
    try:
        main()
    except UserError as error:
        exit_with(str(error))
    except MisconfigurationException as error:  # what Lightning says of a trainer's options
        exit_with(one_line(str(error)))
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        place = f" {error.filename}" if error.filename else ""
        exit_with(
            f"cannot write{place}: {error.strerror}; the last checkpoint is whole: free some space"
            f" and go on with {way_on}"
        )
    except KeyboardInterrupt:
        _interrupted(way_on)
    except SystemExit as leaving:
        # Lightning turns Ctrl-C into sys.exit(1) while it handles the KeyboardInterrupt.
        if isinstance(leaving.__context__, KeyboardInterrupt):
            _interrupted(way_on)
        raise


def _quieten() -> None:
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


def _interrupted(way_on: str) -> NoReturn:
    print(f"stopped: go on with {way_on}", file=sys.stderr)  # noqa: T201 - likewise
    raise SystemExit(EXIT_INTERRUPTED)
