"""Parser errors: jsonargparse's own, of all kinds, become one line about what was written."""

from collections.abc import Iterable
from typing import Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from supernet.command.parser_errors import LONGEST_LINE, not_made, readable


class Logger:
    """What loggers derive from."""


class Board(Logger):
    """Needs a folder."""

    def __init__(self, save_dir: str, steps: int = 3):
        self.save_dir, self.steps = save_dir, steps


BOARD = f"{__name__}.Board"
WITH = '{"class_path": "%s", "init_args": {%s}}'
LINES = {
    f"--log {BOARD}": "log: Board needs save_dir: add --log.save_dir",
    f"--log {BOARD} --log.steps x": "log.steps is 'x', it must be a whole number",
    f"--log {BOARD} --log.stepz x": (
        "log.stepz is no option of Board: --log.help Board lists what there is"
    ),
    "--log Nope": "log is 'Nope', but no class of that name is known: correct it, or name its",
    "--log=" + WITH % (BOARD, '"save_dir": "x", "nam": 3'): (
        "log.nam is no option of Board: --log.help Board lists what there is"
    ),
    "--log=[" + WITH % (BOARD, '"save_dir": "x", "nam": 3') + "]": (
        "log.nam is no option of Board: --log.help Board lists what there is"
    ),
    "--number x": "number is 'x', it must be a whole number",
    "--kind c": "kind is 'c', it must be one of 'a', 'b'",
    "--either c": "either is 'c', it must be one of 1, 2 or a whole number",
    "--named c": "named is 'c', it must be one of 1, 2 or one of 'x', 'y'",
    f"--number {'9x' * 300}": "number is '9x9x",
}


@pytest.fixture(scope="module")
def parser():
    """Options whose values have one type, or may have several."""
    made = ArgumentParser(exit_on_error=False)
    several = Logger | Iterable[Logger] | bool | None
    made.add_argument("--log", type=several, enable_path=True)
    made.add_argument("--number", type=int)
    made.add_argument("--kind", type=Literal["a", "b"])
    made.add_argument("--either", type=Literal[1, 2] | int | None)
    made.add_argument("--named", type=Literal[1, 2] | Literal["x", "y"] | None)
    return made


@pytest.mark.parametrize("line", LINES, ids=[str(number) for number in range(len(LINES))])
def test_they_say_what_was_written_and_what_it_must_be(parser, line):
    option, _, value = line.partition("=") if "{" in line else ("", "", "")
    words = [f"{option}={value}"] if option else line.split()
    with pytest.raises(ArgumentError) as told:
        parser.parse_args(words)
    said = readable(str(told.value))
    assert said.startswith(LINES[line])
    assert "\n" not in said
    assert len(said) < 200


class Refusing(Logger):
    """Cannot be made."""

    def __init__(self, folder: str = "x"):
        raise ValueError(f"{folder} is in maintenance - mode")


def test_a_class_that_refuses_to_be_made_says_why(parser):
    parsed = parser.parse_args(["--log", f"{__name__}.Refusing"])
    with pytest.raises(ValueError, match="Union subtypes") as told:
        parser.instantiate_classes(parsed)
    assert not_made(str(told.value)) == "Refusing cannot be made: x is in maintenance - mode"
    assert not_made("Refusing is odd") == ""


def test_others_stay_but_for_their_length():
    assert readable("Option --x:\n  is odd") == "Option --x: is odd"
    assert readable("x" * 9000) == f"{'x' * LONGEST_LINE} ..."
