"""Microcontroller of ST on a serial line: ``python -m supernet.latency.runners.stedgeai``.

``stedgeai validate --mode target`` times a model that already runs on the board in ST's validation
firmware, and refuses another one by its signature. So for a table, which has thousands of models,
``--load`` names a program of yours that builds and flashes that firmware: it gets the model and the
folder with the C code that ``stedgeai generate`` made of it (on STM32N6, ST's n6_loader.py).

Followed: the command line of ST Edge AI Core 4.0, unchanged since 2.0 in what is used here, and the
line ``duration : 11.970 ms by sample (min/max/std)`` of its report. No board has been seen, only a
script that stands for the program.
"""

import argparse
import re
import shlex
import tempfile
import time
from collections.abc import Sequence

from supernet.command.arguments import positive_int
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.devices.benchmark_program import run
from supernet.latency.runners import runner

PROGRAM = "stedgeai"
INSTALL = "install ST Edge AI Core and put its Utilities/linux on PATH"
KINDS = ("onnx", "tflite")
DURATION = re.compile(r"duration\s*:\s*([0-9.]+)\s*ms by sample")
FAILURE = re.compile(r"(?:INTERNAL ERROR: |TOOL ERROR: |E\d{3}\().*")
"""What stedgeai says when it gives up, wherever in a line."""
WAYS_OUT = {
    "E801": "flash ST's validation firmware with this model, or give --load; mind --desc",
    "does not match": "the board holds another model: give --load, which flashes this one",
}
"""What helps against a failure that is known by a part of its words."""


def measure(options: argparse.Namespace) -> list[float]:
    """Mean time of a model on the board, in ms.

    Raises:
        UserError: when a program is missing or fails, or the board holds another model.
    """
    runner.check_model(options.model, KINDS)
    runner.check_program(PROGRAM, INSTALL)
    deadline = time.monotonic() + options.timeout
    common = ["--model", str(options.model), "--target", options.target]
    common += shlex.split(options.options)
    with tempfile.TemporaryDirectory() as folder:
        # Both write into the current folder unless told otherwise.
        common += ["--workspace", f"{folder}/workspace", "--output", f"{folder}/output"]
        if options.load:
            _ask([PROGRAM, "generate", *common], deadline)
            load = shlex.split(options.load)
            runner.check_program(load[0], "name your program that flashes a board")
            _ask([*load, str(options.model.absolute()), f"{folder}/output"], deadline)
        target = ["--mode", "target", "--desc", options.desc, "-b", str(options.batches)]
        return [duration_of(_ask([PROGRAM, "validate", *common, *target], deadline))]


def duration_of(report: str) -> float:
    """The mean time of a report, in ms; it has three decimals.

    Raises:
        UserError: when it has none, or less than those decimals can tell.
    """
    found = DURATION.search(report)
    if not found:
        raise UserError("`stedgeai validate` printed no `duration : ... ms by sample`")
    if not float(found[1]) > 0:
        raise UserError("`stedgeai validate` printed 0 ms: this model is too small for it")
    return float(found[1])


def _ask(words: Sequence[str], deadline: float) -> str:
    """What a program printed, once it has ended well; stedgeai may fail with status 0."""
    done = run(words, max(1.0, deadline - time.monotonic()))
    told = done.stdout + done.stderr
    failures = FAILURE.findall(told) if words[0] == PROGRAM else []
    if failures:
        way_out = next((way for known, way in WAYS_OUT.items() if known in told), "")
        raise UserError(f"{failures[-1].strip()[:90]}{f': {way_out}' if way_out else ''}")
    runner.check_ended_well(f"{PROGRAM} {words[1]}" if words[0] == PROGRAM else words[0], done)
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the time of a model on a board."""
    parser = runner.runner_parser("stedgeai", __doc__, timeout=100)
    parser.add_argument("--target", required=True, help="such as stm32h7 or stm32n6")
    parser.add_argument("--desc", default="serial", help="such as serial:/dev/ttyACM0:921600")
    parser.add_argument("--batches", type=positive_int, default=10, help="samples, default 10")
    parser.add_argument("--load", default="", help="your program that flashes: MODEL FOLDER")
    parser.add_argument("--options", default="", help="more of stedgeai's, in one word")
    runner.print_times(measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    run_command(main)
