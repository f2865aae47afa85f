"""Runner: what each runner takes from its command line, and what it gives back.

``--backend command --runner "python -m supernet.latency.runners.NAME ... {model}"`` calls one for
every visit. It prints the milliseconds of single runs, on a line of their own; whatever goes wrong
is one line on stderr and exit status 2, which stops the build until it is mended. No torch.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from supernet.command.arguments import Parser, positive_float
from supernet.errors import UserError
from supernet.latency.devices.backends import FILES
from supernet.latency.devices.benchmark_program import last_words


def runner_parser(name: str, description: str | None, timeout: float) -> Parser:
    """The options that all runners have; ``timeout`` is the default, in seconds."""
    parser = Parser(prog=f"python -m supernet.latency.runners.{name}", description=description)
    parser.add_argument("model", type=Path, help=f"a model file: {', '.join(FILES)}")
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=timeout,
        metavar="SECONDS",
        help=f"for one model, default {timeout:g}; give build a larger --timeout",
    )
    return parser


def check_model(model: Path, kinds: Sequence[str] = FILES) -> str:
    """The kind of a model file, out of those that a runner takes.

    Raises:
        UserError: when there is no such file, or it is of another kind.
    """
    kind = model.suffix.removeprefix(".")
    if kind not in kinds:
        raise UserError(f"{model.name} is no {' or '.join(kinds)} file: name one that is")
    if not model.is_file():
        raise UserError(f"{model} is no file: name a model file")
    return kind


def check_program(name: str, way_out: str) -> None:
    """Refuse to go on without a program of this machine.

    Raises:
        UserError: with how to get it.
    """
    if not shutil.which(name):
        raise UserError(f"there is no program {name} here: {way_out}")


def check_ended_well(name: str, done: subprocess.CompletedProcess[str]) -> None:
    """Refuse the answer of a program that has failed.

    Raises:
        UserError: with the last that it said.
    """
    if done.returncode:
        raise UserError(f"{name} ended with status {done.returncode}: {last_words(done)}")


def print_times(times: Sequence[float]) -> None:
    """Print times in ms, as the backend reads them."""
    sys.stdout.write(" ".join(f"{ms:.6g}" for ms in times) + "\n")
