"""``mnasnet plan DIR --budget 30m``: what a search and a retraining would take here.

It reads the images, times a few training steps, fits image size and lengths to the budget by the
rules of docs/plan.md, refuses what cannot work, and writes the configs of both. Nothing is trained.
Without DIR it asks for what it has to know.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from search.plan.questions import answers, at_terminal, check_folder
from search.plan.rules import Profile, budget_seconds, check_target
from supernet.command.arguments import Parser, positive_float, positive_int
from supernet.errors import UserError


def plan_options(words: list[str]) -> argparse.Namespace:
    """What the command line asks for, as far as it can be checked at once.

    ``words`` grow by what a person at a terminal answers where they name no folder.

    Raises:
        UserError: naming the option.
    """
    parser = Parser(prog="python -m search.plan", description=__doc__)
    add = parser.add_argument
    told = "a folder of classes, or of splits of them; without it a terminal is asked"
    add("root", type=Path, metavar="DIR", nargs="?", help=told)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--budget", metavar="TIME", help="time for search and retraining: 30m, 2h")
    lengths.add_argument(
        "--profile",
        choices=get_args(Profile),
        help="lengths without a budget, told with the time that they take (balanced)",
    )
    add("--target", help="limit of the cost: 12, p40 or '0.8x mnasnet_a1' (p40)")
    add("--cost", choices=("ms", "macs", "params"), default="ms", help="what is limited (ms)")
    add("--table", metavar="JSON", help="latency table of another device; its images' size holds")
    add(
        "--table_cache",
        default="runs/tables",
        metavar="DIR",
        help="folder of this machine's tables",
    )
    add(
        "--resolution",
        type=positive_int,
        metavar="PX",
        help="side of the images in px, instead of what suits them",
    )
    add(
        "--price_per_hour",
        type=positive_float,
        metavar="MONEY",
        help="price of an hour of this machine",
    )
    add(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="what an image that cannot be read does, as of a run's data",
    )
    add("--folder", type=Path, metavar="DIR", help="folder of the configs and the runs (runs/NAME)")
    options = parser.parse_args(words)
    if options.root is None:
        if not at_terminal():
            parser.error("the following arguments are required: DIR")
        words += answers(options)
        options = parser.parse_args(words)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    check_folder(str(options.root))
    options.profile = options.profile or "balanced"
    options.target = "p40" if options.target is None else options.target
    options.seconds = budget_seconds(options.budget) if options.budget else None
    options.folder = options.folder or Path("runs") / (options.root.resolve().name or "photos")
    check_target(options.target, options.cost)
    if options.table and options.cost != "ms":
        raise UserError(f"--table prices ms, not {options.cost}: drop one of the two")
    if options.table and options.resolution:
        raise UserError(
            f"--resolution is {options.resolution}, but a table holds for images of one size: drop"
            " one of the two"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a plan and write its configs."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = plan_options(words)
    # Only now: torch takes seconds to load.
    from search.plan.files import check_unused, configs, write_configs
    from search.plan.planning import PlanRequest, make_plan
    from search.plan.words import sentences

    check_unused(options.folder)
    request = PlanRequest(
        options.root,
        options.target,
        options.cost,
        options.table,
        options.table_cache,
        options.seconds,
        options.profile,
        options.resolution,
        options.on_bad_image,
    )
    plan = make_plan(request)
    lines = sentences(request, plan, options.price_per_hour)
    asked = shlex.join(["mnasnet", "plan", *words])
    contents = configs(request, options.folder, plan)
    write_configs(options.folder, contents, [asked, *lines])
    sys.stdout.write("\n".join([*lines, "", *_commands(options.folder)]) + "\n")


def _commands(folder: Path) -> list[str]:
    """What to type next."""
    search, retrain = (shlex.quote(str(folder / f"{name}.yaml")) for name in ("search", "retrain"))
    run = shlex.quote(str(folder / "retrain"))
    return [
        f"mnasnet search -c {search}",
        f"mnasnet retrain -c {retrain}",
        f"mnasnet test --run {run}",
        f"mnasnet export --run {run} --formats onnx",
    ]
