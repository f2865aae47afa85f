"""What command lines share: their parser, and how they end. No torch."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from supernet.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other bad input: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise it.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message} (see {self.prog} --help)")


def check_least(options: argparse.Namespace, least: Mapping[str, int]) -> None:
    """Refuse options below their least values; one that was not given has none.

    Raises:
        UserError: naming the option, its value and the limit.
    """
    for name, limit in least.items():
        value = getattr(options, name)
        if value is not None and value < limit:
            raise UserError(f"--{name} is {value}, it must be at least {limit}")


def run_parsed(parser: Parser, arguments: Sequence[str] | None) -> None:
    """Run the command that a parser finds: ``options.run(options)``.

    Bad input is one line on stderr and exit status 2; Ctrl-C likewise and 130.

    Args:
        parser: whose commands set ``run``.
        arguments: of the command line; those of the process if None.
    """
    try:
        options = parser.parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has seen enough; Python must not flush into it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.stderr.write("stopped: go on with the same command\n")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(EXIT_USER_ERROR) from None


def positive_int(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
