"""The command line of every command that is none of Lightning's. No torch."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from supernet.errors import UserError


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other bad input: one line, exit status 2.

    Options are to be spelled out, unless ``allow_abbrev`` says otherwise.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """A path's ``~`` is one's home, also in ``--run=~/NAME``, which shells leave as it is."""
        value = super()._get_value(action, arg_string)
        if isinstance(value, Path) and not arg_string.strip():
            raise argparse.ArgumentError(action, "it is empty: name a file or folder")
        is_home = isinstance(value, Path) and value.parts[:1] == ("~",)
        return value.expanduser() if is_home else value

    def error(self, message: str) -> NoReturn:
        """Raise a UserError."""
        raise UserError(f"{message} (see {self.prog} --help)")

    def run_command(self, arguments: Sequence[str] | None) -> None:
        """Run the command, its parser's ``run``, that the arguments name; None: the process's.

        Raises:
            UserError: when they are wrong, or the command refuses them.
        """
        options = self.parse_args(arguments)
        options.run(options)


def positive_int(text: str) -> int:
    """A whole number of at least 1; argparse says the error with the option's name."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0; argparse says the error with the option's name."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
