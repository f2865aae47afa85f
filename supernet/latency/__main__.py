"""The commands ``python -m supernet.latency build``, ``validate`` and ``show``."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from supernet.command.arguments import Parser, config_path, positive_float, positive_int
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.errors import UserError, check_range
from supernet.latency.build import build_table, fingerprint_of
from supernet.latency.devices.backends import COMMAND_LINE_ONLY, Backend
from supernet.latency.devices.opening import device_of_table
from supernet.latency.table.plan import EFFORTS, plan_measurements
from supernet.latency.table.table import LatencyTable
from supernet.latency.table.validation import Accuracy, Noise, Validation
from supernet.latency.validate import Amount, validate_table
from supernet.space.mnasnet import read_space, reference_specs

SPACE_OPTIONS = {
    "resolution": "side of the images in px",
    "classes": "number of classes",
    "stem_stride": "stride of the first convolution",
}
"""Numbers of a space that the command line may replace, and what they are."""
COLUMN_FORMATS = ("{:.1%}", "{:.0%}", "{:.0%}", "{:.3f}", "{:+.1%}")
"""Formats of the fields of an Accuracy, or of a Noise, which knows no bias."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one line on stderr and exit status 2."""
    run_command(lambda: latency_parser().run_command(arguments))


def run_build(options: argparse.Namespace) -> None:
    """Measure a table and save it; a build that was stopped goes on."""
    out = options.out
    if out.suffix != ".json":
        raise UserError(f"--out {out}: the name must end in .json")
    backend = backend_of(options)
    given = {name: getattr(options, name) for name in SPACE_OPTIONS if getattr(options, name)}
    space = dataclasses.replace(read_space(options.space), **given)
    effort = EFFORTS["quick" if options.quick else "full"]
    plan = plan_measurements(space, reference_specs(space), effort)
    with device_of_table(backend, out) as device:
        fingerprint = fingerprint_of(device, plan, backend)
        if out.exists():
            _check_finished(out, fingerprint)
            table = LatencyTable.read(out)
        else:
            table = build_table(device, plan, fingerprint, out)
    _print_validation(table, table.validation)


def _check_finished(out: Path, fingerprint: dict) -> None:
    """Refuse to replace a table of something else, naming what differs."""
    found = LatencyTable.read(out).fingerprint
    for name, value in fingerprint.items():
        if found.get(name) != value:
            raise UserError(
                f"{out} is a table with another {name}: name another --out, or remove it"
            )


def run_validate(options: argparse.Namespace) -> None:
    """Measure fresh random networks and compare them with what a table predicts."""
    check_range("--", options, "networks", least=2)
    check_range("--", options, "sessions", least=1)
    check_range("--", options, "rounds", least=3)
    table = LatencyTable.read(options.table)
    changed = {name: getattr(options, name) for name in COMMAND_LINE_ONLY}
    given = {name: value for name, value in changed.items() if value}
    backend = Backend.of_table(table.settings, given)
    amount = Amount(options.networks, options.sessions, options.rounds, options.seed)
    with device_of_table(backend, options.table) as device:
        outcome = validate_table(device, table, options.table, amount, options.strict)
    _print_validation(table, outcome.validation)
    _print_drift(outcome.drift, outcome.validation)
    if options.claim is not None:
        if outcome.objection:
            raise UserError(outcome.objection)
        outcome.validation.check_claim(options.claim / 100)


def run_show(options: argparse.Namespace) -> None:
    """Print what a table was measured on and how true it is; draw it."""
    table = LatencyTable.read(options.table)
    _print_origin(table, options.table)
    _print_validation(table, table.validation)
    if options.plot:
        # Matplotlib takes a second to load.
        from supernet.display.figures import save_figure
        from supernet.latency.figure import draw_table

        save_figure(draw_table(table), options.plot)


def _print_origin(table: LatencyTable, path: Path) -> None:
    """What was measured on what."""
    found = table.fingerprint
    space, effort = found.get("space", {}), found.get("effort", {})
    lines = {
        "table": f"{path}, {table.hash[:12]}",
        "device": table.device,
        "backend": f"{found['backend']}, {found['clock']} clock",
        "network": f"{space.get('resolution')} px, {space.get('classes')} classes, batch 1",
        "measured": f"{found.get('date', '')}, {len(table.entries)} layers in"
        f" {effort.get('part_sessions')} sessions, {len(table.networks)} networks in"
        f" {effort.get('network_sessions')}",
        "command": found.get("command", ""),
        "correction": f"{table.correction.form}, {len(table.correction.weights)} weights",
    }
    for name, value in lines.items():
        sys.stdout.write(f"{name:<12}{value}\n")
    errors = ", ".join(f"{name} {error:.1%}" for name, error in table.correction.errors.items())
    sys.stdout.write(f"{'':<12}mean error in cross-validation: {errors}\n\n")


def _print_validation(table: LatencyTable, validation: Validation) -> None:
    """Predictions against networks that calibrated nothing, beside the noise of these."""
    headers = ("model", "mean error", "within 5 %", "within 10 %", "Kendall's tau", "bias")
    grid = new_table(*headers, left=("model",))
    noise, own = validation.noise, f"this table ({table.correction.form})"
    rows: dict[str, Accuracy | Noise] = {own: validation.predicted, **validation.baselines}
    if validation.sessions > 1:
        rows["noise alone"] = noise
    for name, found in rows.items():
        values = zip(COLUMN_FORMATS, dataclasses.astuple(found), strict=False)
        grid.add_row(name, *(form.format(value) for form, value in values))
    print_table(grid)
    sys.stdout.write(
        f"{validation.networks} networks, {validation.sessions} sessions, of which at least"
        f" {validation.least_sessions} count for each: {validation.verdict}\n"
    )
    if noise.floor and noise.kendall_tau > 0:
        sys.stdout.write(
            f"mean error over noise floor {validation.predicted.mape / noise.floor:.1f}, tau over"
            f" that of two measurements {validation.predicted.kendall_tau / noise.kendall_tau:.2f};"
            f" two networks whose predictions differ by less than {noise.floor:.1%} are not told"
            " apart\n"
        )


def _print_drift(drift: float, validation: Validation) -> None:
    """How much the machine has changed since the table was built."""
    bias = (1 + validation.predicted.bias) / (1 + drift) - 1
    sys.stdout.write(
        f"networks that calibrated the table take {drift:+.1%} longer than when it was built: times"
        f" are scaled by that; unscaled, the bias is {bias:+.1%}\n"
    )


def backend_of(options: argparse.Namespace) -> Backend:
    """The device that options of ``build`` describe."""
    names = [field.name for field in dataclasses.fields(Backend)]
    return Backend(**{name: getattr(options, name) for name in names})


def latency_parser() -> Parser:
    """What understands the three commands."""
    parser = Parser(prog="python -m supernet.latency")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="build, validate or show"
    )
    new = commands.add_parser(
        "build",
        help="measure a table for a device and a space",
        description="Measure every distinct layer of a space and some whole networks. A build that"
        " was stopped, by whatever means, goes on with the same command.",
    )
    _add_build_options(new)
    again = commands.add_parser(
        "validate",
        help="measure fresh networks and compare",
        description="Measure fresh random networks and compare them with what a table predicts.",
    )
    _add_validate_options(again)
    one = commands.add_parser("show", help="print and draw a table")
    one.add_argument("table", type=Path, metavar="FILE", help="a latency table")
    one.add_argument("--plot", type=Path, metavar="PNG", help="also draw the table")
    one.set_defaults(run=run_show)
    return parser


def _add_build_options(new: argparse.ArgumentParser) -> None:
    space = "a file, or a shipped one such as spaces/paper"
    new.add_argument("--space", type=config_path, required=True, metavar="YAML", help=space)
    new.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table, .json")
    for name, words in SPACE_OPTIONS.items():
        option, told = f"--{name}", f"{words}, instead of the space's"
        new.add_argument(option, type=positive_int, help=told)
    new.add_argument("--quick", action="store_true", help="about a minute on a fast machine")
    for field in dataclasses.fields(Backend):
        option = "backend" if field.name == "name" else field.name
        new.add_argument(
            f"--{option}",
            dest=field.name,
            metavar=option.upper(),
            type=type(field.default),
            default=field.default,
            help=field.metadata["help"],
        )
    new.set_defaults(run=run_build)


def _add_validate_options(again: argparse.ArgumentParser) -> None:
    again.add_argument("table", type=Path, metavar="FILE", help="a latency table")
    again.add_argument(
        "--networks", type=int, default=60, help="fresh networks to measure, default 60"
    )
    again.add_argument(
        "--sessions", type=int, default=6, help="sessions over all of them, default 6"
    )
    again.add_argument("--rounds", type=int, default=30, help="rounds in each session, default 30")
    again.add_argument("--seed", type=int, default=1, help="seed of the networks, default 1")
    claim = "exit with status 2 unless the mean error is shown to be at most this"
    again.add_argument("--claim", type=positive_float, metavar="PERCENT", help=claim)
    again.add_argument("--strict", action="store_true", help="refuse a table of another device")
    # A table says none of these: no file runs a program.
    again.add_argument("--device", default="", help="the phone's serial number, cpu or cuda")
    again.add_argument("--runner", default="", help="the program that the table was measured with")
    again.add_argument("--timeout", type=positive_float, help="seconds of one run, default 120")
    again.set_defaults(run=run_validate)


if __name__ == "__main__":
    main()
