"""``mnasnet paper NAME``: an experiment of MnasNet's paper, by one command.

It trains what the cache does not hold, and prints a table beside the paper's figures and one
sentence of what it shows here. It can be stopped and run again. Without a NAME it lists the
experiments.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from search.evaluation.estimates import Report
from search.paper.experiment import (
    SCALES,
    experiment_file,
    experiment_names,
    one_line_each,
    read_settings,
)
from search.paper.sampled import SampledExperiment
from search.paper.trained import TrainedExperiment
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.errors import UserError, check_choice, check_range
from supernet.files.locking import locked
from supernet.report.report import report_after
from supernet.run.folder import make_folder


class Kind(Protocol):
    """A kind of experiment, made of a file's content, its path, and the command's options."""

    def plan(self) -> Iterator[str]:
        """What it will do, and what that takes, in lines."""

    def run(self) -> Report:
        """Do what is missing, write ``paper.json`` and ``paper.png`` into the run's folder."""


KINDS: dict[str, Callable[[dict[str, Any], Path, argparse.Namespace], Kind]] = {
    "trainings": TrainedExperiment,
    "clouds": SampledExperiment,
}
"""Kinds by their names in a file, its field ``kind``."""


def paper_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.paper", description=__doc__)
    add = parser.add_argument
    add("name", nargs="?", default="", help="the experiment, such as table6; without: their list")
    add("--scale", choices=SCALES, default="embedded", help="embedded digits, or ImageNet")
    add("--data.root", dest="root", type=Path, metavar="DIR", help="folder of ImageNet's images")
    add("--seeds", type=int, help="trainings of each network, and searches, instead of the file's")
    add("--steps", type=int, help="steps of a training, instead of the file's")
    add("--processes", type=int, default=1, help="trainings at a time, of one thread each (1)")
    add("--cluster", default="", metavar="ADDRESS", help="Dask scheduler whose workers train")
    told = "file of finished trainings; searches and latencies lie beside it"
    add("--cache", type=Path, default=Path("runs/paper.jsonl"), help=told)
    add("--run", type=Path, help="folder for paper.json, paper.png and report.html (runs/NAME)")
    add("--table", metavar="JSON", help="latency table of the searches' space, not measured here")
    add("--dry_run", action="store_true", help="only say what it would do, and what that takes")
    options = parser.parse_args(arguments)
    check_range("--", options, "seeds", "steps", "processes", least=1)
    return options


def read_kind(name: str, options: argparse.Namespace) -> Kind:
    """The experiment of a name, ready to run.

    Raises:
        UserError: when there is none, or what is wrong with its file.
    """
    path = experiment_file(name)
    settings = read_settings(path)
    check_choice(f"{path}: kind", settings["kind"], KINDS)
    return KINDS[settings["kind"]](settings, path, options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an experiment and say what it shows, or list them all."""
    options = paper_options(arguments)
    torch.set_num_threads(1)
    if not options.name:
        say("\n".join(one_line_each(dict(_summaries(options)))))
        return
    options.run = options.run or Path("runs") / Path(options.name).stem
    experiment = read_kind(options.name, options)
    for line in experiment.plan():
        say(line)
    if not options.dry_run:
        if options.scale == "imagenet" and not options.root:
            raise UserError(
                "--scale imagenet needs ImageNet's images: give --data.root DIR, or --dry_run"
            )
        make_folder(options.run)
        with locked(options.run):
            report = experiment.run()
            report_after(options.run, say)
            report.print()


def _summaries(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Title and plan of each experiment, by its name."""
    for name in experiment_names():
        title = str(read_settings(experiment_file(name)).get("title", ""))
        yield name, [title, *read_kind(name, options).plan()]
