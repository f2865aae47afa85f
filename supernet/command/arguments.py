"""The command line of every command that is none of Lightning's. No torch."""

import argparse
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from supernet.errors import UserError
from supernet.files.shipped import config_file

UNKNOWN = "unrecognized arguments: "
"""What argparse says before options that there are not."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other bad input: one line, exit status 2.

    Options are to be spelled out.
    """

    console_names: ClassVar[Mapping[str, str]] = {}
    """How ``python -m`` commands are called where the console command has started them."""

    def __init__(self, **settings: Any) -> None:
        prog = settings.get("prog")
        named = {"prog": self.console_names.get(prog, prog)} if prog else {}
        super().__init__(**{"allow_abbrev": False, **settings, **named})

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """A path's ``~`` is one's home, also in ``--run=~/NAME``, which shells leave as it is."""
        value = super()._get_value(action, arg_string)
        if isinstance(value, Path) and not arg_string.strip():
            raise argparse.ArgumentError(action, "it is empty: name a file or folder")
        is_home = isinstance(value, Path) and value.parts[:1] == ("~",)
        return value.expanduser() if is_home else value

    def error(self, message: str) -> NoReturn:
        """Raise a UserError, which names the option that looks most like one that there is not."""
        if message.startswith(UNKNOWN):
            actions = [action for one in self.with_subparsers() for action in one._actions]
            options = [name for action in actions for name in action.option_strings]
            message += closest_option(message.removeprefix(UNKNOWN).split(" ")[0], options)
        raise UserError(f"{message} (see {self.prog} --help)")

    def with_subparsers(self) -> Iterator["Parser"]:
        """The parser, and those of its commands."""
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser.with_subparsers()

    def run_command(self, arguments: Sequence[str] | None) -> None:
        """Run the command, its parser's ``run``, that the arguments name; None: the process's.

        Raises:
            UserError: when they are wrong, or the command refuses them.
        """
        options = self.parse_args(arguments)
        options.run(options)


def closest_option(word: str, options: Iterable[str]) -> str:
    """What an error says of the option that is most like a word; nothing where none is."""
    # Until 0.2 some had dashes.
    plain = {option.replace("-", "_"): option for option in options}
    found = difflib.get_close_matches(word.partition("=")[0].replace("-", "_"), plain, n=1)
    return f"; did you mean {plain[found[0]]}?" if found else ""


def config_path(text: str) -> Path:
    """A file, or a shipped config by its name; argparse says the error with the option's name."""
    try:
        return config_file(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
