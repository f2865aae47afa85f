"""The commands of ``python -m supernet``: show, compare, size, check-data and report.

All but ``check-data`` load no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from supernet.command.arguments import Parser, positive_float, positive_int
from supernet.command.process import run_command
from supernet.display.commands import compare_networks, show_network, show_sizes
from supernet.space.published import published

SPLITS = {"val": "validation", "test": "testing", "reward": "scoring a search's candidates"}
"""Splits whose shares the command line may name, and what they are for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one line on stderr and exit status 2."""
    run_command(lambda: _parser().run_command(arguments))


def _parser() -> Parser:
    parser = Parser(prog="python -m supernet")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="show, compare, size, check-data or report"
    )
    names = (
        f"an arch.json or one of {', '.join(published)}, also with a width multiplier as in"
        " mnasnet_a1_075"
    )
    one = commands.add_parser(
        "show",
        help="print a network's parts, shapes and costs",
        description="Print a network's parts, shapes, parameters and multiply-accumulates.",
    )
    one.add_argument("network", metavar="NAME|FILE", help=names)
    one.add_argument("--width", type=positive_float, help="width multiplier, default 1.0")
    _add_scale(one)
    one.add_argument("--plot", type=Path, metavar="PNG", help="also draw the network")
    one.set_defaults(run=show_network)
    more = commands.add_parser(
        "compare",
        help="print networks side by side",
        description="Print networks side by side: stages, layers, parameters, multiply-accumulates"
        " and, with --table, predicted latency. Published names take their resolution, classes and"
        " stem stride from these options, else from the first FILE, else from the table.",
    )
    more.add_argument("networks", nargs="+", metavar="NAME|FILE", help=names)
    _add_scale(more)
    more.add_argument("--table", metavar="JSON", help="the latency table that predicts")
    more.set_defaults(run=compare_networks)
    spaces = commands.add_parser(
        "size",
        help="count a space's codes and distinct networks",
        description="Count the codes of search spaces and the networks that differ, exactly.",
    )
    spaces.add_argument(
        "spaces", nargs="+", metavar="YAML", help="files, or shipped ones such as spaces/paper"
    )
    spaces.set_defaults(run=show_sizes)
    _add_check_data(
        commands.add_parser(
            "check-data",
            help="read every image of a folder and say what is in it",
            description="Read every image of a folder as a run would: print the classes, the images"
            " of each split, sizes, brightness, copies, the majority share and all that cannot be"
            " read, and draw a page of samples. The status is 2 if a run could not begin.",
        )
    )
    report = commands.add_parser(
        "report",
        help="write report.html of a run from its files",
        description="Write report.html into a run's folder, from the files that are there: what"
        " was found, trained, tested and exported, on one page that opens offline.",
    )
    told = "folder of a search or retraining"
    report.add_argument("--run", type=Path, dest="folder", metavar="DIR", required=True, help=told)
    report.set_defaults(run=_report)
    return parser


def _add_check_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a folder of classes, or of splits of them")
    parser.add_argument(
        "--page", type=Path, metavar="PNG", help="page of samples (DIR-samples.png, here)"
    )
    for name, purpose in SPLITS.items():
        share = f"share of the images that are for {purpose}, as of a run's data"
        parser.add_argument(f"--{name}_share", type=positive_float, help=share)
    parser.add_argument("--split_seed", type=int, help="seed of the splits, as of a run's data")
    side = "side of the images in px, as of a run's data"
    parser.add_argument("--resolution", type=positive_int, metavar="PX", help=side)
    parser.add_argument(
        "--augmentation",
        metavar="PRESET|YAML",
        help="also draw what a training makes of the images: none, light, strong, or a config's",
    )
    transparent = "colour under transparent pixels, each of 0 to 255"
    parser.add_argument(
        "--background", type=int, nargs=3, metavar=("R", "G", "B"), help=transparent
    )
    white = "value of white in 16-bit images, such as 4095"
    parser.add_argument("--white_16_bit", type=positive_int, metavar="VALUE", help=white)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_check_data)


def _check_data(options: argparse.Namespace) -> None:
    # Loaded on demand: data load torch, and matplotlib draws.
    from supernet.display.data_report import check_data

    check_data(options)


def _report(options: argparse.Namespace) -> None:
    # Loaded on demand: it draws.
    from supernet.report.report import write_report

    sys.stdout.write(f"report: {write_report(options.folder)}\n")


def _add_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resolution", type=positive_int, help="side of the input in pixels")
    parser.add_argument("--classes", type=positive_int, help="width of the classifier")
    parser.add_argument("--stem_stride", type=positive_int, help="stride of the first convolution")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


if __name__ == "__main__":
    main()
