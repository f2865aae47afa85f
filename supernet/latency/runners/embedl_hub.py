"""Phone of Embedl Hub: ``python -m supernet.latency.runners.embedl_hub``.

The program ``embedl-hub`` is called, which wants packages of other versions than ours: install it
in an environment of its own (``pipx install 'embedl-hub[tflite]==0.0.7'``). A .tflite file runs on
Embedl's own phones, an .onnx file on Qualcomm's. Each profile is a run of your project there; its
exact time is read back from it, since what is printed has two decimals.

Followed: embedl-hub 0.0.7 (``profile``, ``run list --json``, ``run show --json``). From 0.0.8 on
there is no ``profile``. No account has been seen, only a script that stands for the program.
"""

import argparse
import json
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any

from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.devices.benchmark_program import run
from supernet.latency.runners import runner

PROGRAM = "embedl-hub"
INSTALL = "`pipx install 'embedl-hub[tflite]==0.0.7'`, then `embedl-hub auth` and `embedl-hub init`"
TOOLCHAINS = {"tflite": "tflite", "onnx": "onnxruntime"}
"""What runs a kind of file there."""
CLOUDS = {"tflite": ("aws", "qai-hub"), "onnx": ("qai-hub",)}
"""Where phones are, for each kind of file, the default first; aws is Embedl's own."""
LATENCY = "$latency"
"""Metric of a profile, in ms."""
LISTED = 100
"""Runs of the project among which the new one is looked for; other people's may come between."""
QUEUE_SECONDS = 1800.0


def measure(options: argparse.Namespace) -> list[float]:
    """Mean time of a model on a phone of the hub, in ms.

    Raises:
        UserError: when the program is missing or another version, or the profile fails.
    """
    kind = runner.check_model(options.model, tuple(TOOLCHAINS))
    cloud = options.cloud or CLOUDS[kind][0]
    if cloud not in CLOUDS[kind]:
        raise UserError(f"--cloud {cloud} takes no {kind} files: give {' or '.join(CLOUDS[kind])}")
    runner.check_program(PROGRAM, INSTALL)
    deadline = time.monotonic() + options.timeout
    name = f"mnasnet-search-{options.model.stem[:40]}-{secrets.token_hex(6)}"
    words = ["profile", TOOLCHAINS[kind], cloud, "--model", str(options.model)]
    words += ["--device", options.device, "--run-name", name]
    words += [word for one in options.param for word in ("--param", one)]
    project = ["--project", options.project] if options.project else []
    _ask([*words, *project], deadline)
    listed = _ask_json(["run", "list", "--json", "--limit", str(LISTED), *project], deadline)
    try:
        numbers = [one["id"] for one in listed["items"] if one["name"] == name]
        if not numbers:
            raise UserError(f"Embedl Hub lists no run {name}, although its profile ended well")
        return [latency_of(_ask_json(["run", "show", numbers[0], "--json", *project], deadline))]
    except (KeyError, TypeError):
        raise UserError(
            f"{PROGRAM} answers in another form than version 0.0.7: {INSTALL}"
        ) from None


def latency_of(shown: Any) -> float:
    """The time in ms that a run has as its last metric of that name.

    Raises:
        UserError: when it has none.
    """
    found = [one["value"] for one in shown["metrics"] if one["name"] == LATENCY]
    if not found or not found[-1] > 0:
        raise UserError(f"the run on Embedl Hub has no metric {LATENCY} above 0")
    return float(found[-1])


def _ask(words: Sequence[str], deadline: float) -> str:
    """What the program prints, once it has ended well."""
    done = run([PROGRAM, *words], max(1.0, deadline - time.monotonic()))
    told = done.stderr + done.stdout
    if "No such command" in told:
        raise UserError(f"this embedl-hub has no `{words[0]}`: {INSTALL}")
    if "requires the" in told and "extra" in told:
        raise UserError(f"this embedl-hub lacks an extra: {INSTALL}")
    failure = next((line for line in told.splitlines() if "✗" in line), "")
    if done.returncode and failure:
        raise UserError(f"Embedl Hub refuses: {failure.replace('✗', '').strip()[:150]}")
    runner.check_ended_well(f"{PROGRAM} {words[0]}", done)
    return done.stdout


def _ask_json(words: Sequence[str], deadline: float) -> Any:
    text = _ask(words, deadline)
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"`{PROGRAM} {' '.join(words[:2])}` printed no JSON") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the time of a model on a phone of the hub."""
    parser = runner.runner_parser("embedl_hub", __doc__, QUEUE_SECONDS)
    parser.add_argument("--device", required=True, help="as `embedl-hub list-devices` spells it")
    clouds = sorted({cloud for names in CLOUDS.values() for cloud in names})
    parser.add_argument("--cloud", choices=clouds, help="aws for tflite files by default")
    parser.add_argument("--project", default=os.environ.get("EMBEDL_HUB_PROJECT", ""))
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of benchmark_model with --cloud aws, such as num_threads=1",
    )
    runner.print_times(measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    run_command(main)
