"""Questions: what a plan has to know, asked of a person at a terminal. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from rich.prompt import InvalidResponse, Prompt

from search.plan.rules import Profile, budget_seconds, check_target
from supernet.errors import UserError

THIS = "this"
"""Answer that means this machine."""
PROFILES: tuple[str, ...] = get_args(Profile)


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def answers(given: argparse.Namespace) -> Iterator[str]:
    """Words that complete a command line; what it has said already is not asked.

    Args:
        given: options as they were parsed, None where nothing is given.

    Raises:
        UserError: when the answers end before the questions.
    """
    try:
        yield _ask("Folder of images, with a folder for each class", "", check_folder)
        if given.table is None and given.cost == "ms":
            device = _ask("Device: the file of its latency table, or this machine", THIS, _table)
            yield from () if device == THIS else ("--table", device)
        if given.target is None:
            yield "--target"
            unit = "ms" if given.cost == "ms" else given.cost
            asked = f"Target: at most so many {unit}, a percentile, or a factor as 0.8x mnasnet_a1"
            yield _ask(asked, "p40", lambda text: check_target(text, given.cost))
        if given.budget is None and given.profile is None:
            time = _ask(f"Time as 30m or 2h, or {', '.join(PROFILES)}", "balanced", _time)
            yield from ("--profile" if time in PROFILES else "--budget", time)
    except EOFError:
        raise UserError(
            "the answers have ended: name DIR and options on the command line"
        ) from None


def _ask(question: str, default: str, check: Callable[[str], object]) -> str:
    """An answer that ``check`` takes, nothing being the default; others are asked for again."""

    class Checked(Prompt):
        def process_response(self, value: str) -> str:
            try:
                check(value.strip() or default)
            except UserError as error:
                raise InvalidResponse(str(error)) from None
            return value.strip()

    return Checked.ask(question, default=default) if default else Checked.ask(question)


def check_folder(text: str) -> None:
    """Refuse what is no folder.

    Raises:
        UserError: naming it.
    """
    if not text.strip() or not Path(text).expanduser().is_dir():
        raise UserError(f"{text} is not a folder: name one with a folder for each class")


def _table(text: str) -> None:
    if text != THIS and not Path(text).expanduser().is_file():
        raise UserError(f"{text} is no file: name a latency table, or say {THIS}")


def _time(text: str) -> None:
    if text not in PROFILES:
        budget_seconds(text)
