"""The commands ``python -m supernet.latency build``, ``validate`` and ``show``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from supernet.command.arguments import Parser, positive_float, positive_int
from supernet.command.process import run_command
from supernet.errors import UserError, check_range
from supernet.latency.build import build_table, fingerprint_of, models_path
from supernet.latency.devices.backends import FILES, PRECISIONS, Backend
from supernet.latency.report import print_drift, print_report, print_table_file
from supernet.latency.table.plan import EFFORTS, plan_measurements
from supernet.latency.table.table import LatencyTable
from supernet.latency.validate import Amount, validate_table
from supernet.space.mnasnet import read_space, reference_specs

_SPACE = ("resolution", "classes", "stem_stride")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one line on stderr and exit status 2."""
    run_command(lambda: latency_parser().run_command(arguments))


def build(options: argparse.Namespace) -> None:
    """Measure a table and save it; a build that was stopped goes on.

    Raises:
        UserError: for bad settings, a missing device, and files of another build.
    """
    out = options.out
    if out.suffix != ".json":
        raise UserError(f"--out {out}: the name must end in .json")
    backend = backend_of(options)
    given = {name: getattr(options, name) for name in _SPACE if getattr(options, name)}
    space = dataclasses.replace(read_space(options.space), **given)
    effort = EFFORTS["quick" if options.quick else "full"]
    plan = plan_measurements(space, reference_specs(space), effort)
    with backend.open(models_path(out)) as device:
        fingerprint = fingerprint_of(device, space, plan, effort, backend)
        if out.exists():
            _check_finished(out, fingerprint)
            table = LatencyTable.read(out)
        else:
            table = build_table(device, space, plan, effort, fingerprint, out)
    print_report(table, table.validation)


def _check_finished(out: Path, fingerprint: dict) -> None:
    """Refuse to replace a table of something else.

    Raises:
        UserError: naming what differs.
    """
    found = LatencyTable.read(out).fingerprint
    for name, value in fingerprint.items():
        if found.get(name) != value:
            raise UserError(
                f"{out} is a table with another {name}: name another --out, or remove it"
            )


def validate(options: argparse.Namespace) -> None:
    """Measure fresh random networks and compare them with what a table predicts.

    Raises:
        UserError: for a table of another device under ``--strict``, and for a claim not shown.
    """
    check_range("--", options, "networks", least=2)
    check_range("--", options, "sessions", least=1)
    check_range("--", options, "rounds", least=3)
    table = LatencyTable.read(options.table)
    changed = {name: getattr(options, name) for name in ("device", "runner")}
    backend = Backend.from_plain(
        {**table.settings, **{name: value for name, value in changed.items() if value}}
    )
    amount = Amount(options.networks, options.sessions, options.rounds, options.seed)
    outcome = validate_table(table, options.table, backend, amount, options.strict)
    print_report(table, outcome.validation)
    print_drift(outcome.drift, outcome.validation)
    if options.claim is not None:
        if outcome.objection:
            raise UserError(outcome.objection)
        outcome.validation.check_claim(options.claim / 100)


def show(options: argparse.Namespace) -> None:
    """Print what a table was measured on and how true it is; draw it."""
    table = LatencyTable.read(options.table)
    print_table_file(table, options.table)
    print_report(table, table.validation)
    if options.plot:
        # Matplotlib takes a second to load.
        from supernet.figure_style import save_figure
        from supernet.latency.report import draw_table

        save_figure(draw_table(table), options.plot)


def backend_of(options: argparse.Namespace) -> Backend:
    """The device that options of ``build`` describe.

    Raises:
        UserError: naming the setting, its value and what is allowed.
    """
    named = {field.name: field.name for field in dataclasses.fields(Backend)} | {"name": "backend"}
    return Backend(**{name: getattr(options, option) for name, option in named.items()})


def latency_parser() -> Parser:
    """What understands the three commands."""
    parser = Parser(prog="python -m supernet.latency")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="build, validate or show"
    )
    _add_build(
        commands.add_parser(
            "build",
            help="measure a table for a device and a space",
            description="Measure every distinct layer of a space and some whole networks. A build"
            " that was stopped, by whatever means, goes on with the same command.",
        )
    )
    again = commands.add_parser(
        "validate",
        help="measure fresh networks and compare",
        description="Measure fresh random networks and compare them with what a table predicts.",
    )
    again.add_argument("table", type=Path, metavar="FILE", help="a latency table")
    again.add_argument("--networks", type=int, default=60, help="fresh ones, default 60")
    again.add_argument("--sessions", type=int, default=6, help="over all of them, default 6")
    again.add_argument("--rounds", type=int, default=30, help="in each session, default 30")
    again.add_argument("--seed", type=int, default=1, help="of the networks, default 1")
    again.add_argument(
        "--claim",
        type=positive_float,
        metavar="PERCENT",
        help="exit with status 2 unless the mean error is shown to be at most this",
    )
    again.add_argument("--strict", action="store_true", help="refuse a table of another device")
    again.add_argument("--device", default="", help="instead of the table's: serial, cpu or cuda")
    again.add_argument("--runner", default="", help="instead of the table's")
    again.set_defaults(run=validate)
    one = commands.add_parser("show", help="print and draw a table")
    one.add_argument("table", type=Path, metavar="FILE", help="a latency table")
    one.add_argument("--plot", type=Path, metavar="PNG", help="also draw it")
    one.set_defaults(run=show)
    return parser


def _add_build(parser: argparse.ArgumentParser) -> None:
    default = Backend()
    parser.add_argument(
        "--space",
        type=Path,
        required=True,
        metavar="YAML",
        help="such as configs/spaces/paper.yaml",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table, .json")
    for name in _SPACE:
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=positive_int, help="instead of the space's")
    parser.add_argument("--quick", action="store_true", help="about a minute on a fast machine")
    parser.add_argument("--backend", default=default.name, help=f"one of {', '.join(PRECISIONS)}")
    parser.add_argument("--threads", type=int, default=default.threads, help="default 1")
    parser.add_argument(
        "--precision",
        default=default.precision,
        help="default fp32; also int8, or for torch bf16 and fp16",
    )
    parser.add_argument(
        "--device",
        default=default.device,
        help="torch: cpu or cuda; adb: serial number of the phone",
    )
    parser.add_argument(
        "--runner",
        default=default.runner,
        help="adb: a program for the phone; command: a line that takes a model file and prints ms",
    )
    parser.add_argument(
        "--files", default=default.files, help=f"adb and command: one of {', '.join(FILES['adb'])}"
    )
    parser.add_argument("--cores", default=default.cores, help="adb: hexadecimal mask, such as f0")
    parser.add_argument(
        "--timeout",
        type=float,
        default=default.timeout,
        help="adb and command: seconds of one run, default 120",
    )
    parser.set_defaults(run=build)
