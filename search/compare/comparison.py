"""``python -m search.compare -c configs/clutter/retrain.yaml --supernet CKPT``: what is gained?

First every controller searches on a frozen supernet, each with several seeds and as many
evaluations as plain random search. Then their choices, or those of finished searches (``--runs``),
are trained from scratch beside random networks of the same cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import torch

from search.compare.benchmark import Rules
from search.compare.report import (
    contest_facts,
    contest_table,
    draw_comparison,
    retrained_facts,
    retrained_tables,
)
from search.compare.retrained import Choice, Comparison, compare_retrained
from search.compare.trials import Cup, Entry
from search.controllers.settings import Kind
from search.evaluation.estimates import Report
from search.evaluation.jobs import Row
from search.evaluation.search_config import SearchFile, read_search
from search.evaluation.trainings import TrainingRunner, Trainings, check_shape
from search.monitoring.compute import Spent
from search.objective.costs import cost_model
from supernet.arch_file import read_arch
from supernet.command.arguments import Parser
from supernet.display.figures import save_figure
from supernet.errors import UserError, check_range
from supernet.files.writing import write_atomic
from supernet.training.config import read_training

KINDS: tuple[Kind, ...] = get_args(Kind)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.compare", description=__doc__)
    add = parser.add_argument
    add("-c", "--config", type=Path, required=True, help="of a retraining: data, recipe, length")
    add("--supernet", type=Path, nargs="+", default=[], metavar="CKPT", help="of searches")
    add(
        "--runs",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="finished searches, by folder or arch.json, whose choices are retrained",
    )
    add(
        "--search",
        type=Path,
        metavar="YAML",
        help="settings of the searches, by default config.yaml of their runs",
    )
    add("--target", help="instead of the search's: 12, p40 or '0.8x mnasnet_a1'")
    add("--controllers", nargs="+", choices=KINDS, default=KINDS, help="which (all)")
    add("--evaluations", type=int, default=2000, help="of architectures, in a contest (2000)")
    add("--seeds", type=int, default=10, help="contests of each controller (10)")
    add("--top", type=int, default=10, help="networks re-scored when a contest ends (10)")
    add("--retrain", type=int, default=1, help="seeds whose choice is retrained, 0 for none (1)")
    add("--random", type=int, default=10, help="random networks for each choice (10)")
    add("--trainings", type=int, default=3, help="of a choice and of the best random one (3)")
    add("--steps", type=int, help="of a training, instead of the config's")
    add("--processes", type=int, default=1, help="jobs at a time, of one thread each (1)")
    add("--cache", type=Path, default=Path("runs/standalone.jsonl"), help="of finished trainings")
    add("--run", type=Path, default=Path("runs/compare"), help="for compare.json and compare.png")
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    check_range("--", options, "seeds", "top", "trainings", "processes", "steps", least=1)
    check_range("--", options, "retrain", least=0)
    check_range("--", options, "random", least=2)
    if not options.supernet and not options.runs:
        raise UserError("give a --supernet for controllers to search on, or finished --runs")
    if not options.retrain and options.runs:
        raise UserError("--retrain 0 leaves nothing to do with --runs: drop one of the two")
    if options.retrain > options.seeds:
        raise UserError(f"--retrain is {options.retrain}, but there are {options.seeds} --seeds")
    twice = next((k for k in options.controllers if options.controllers.count(k) > 1), None)
    if twice:
        raise UserError(f"--controllers names {twice} twice: name each once")


@dataclass(frozen=True)
class Contested:
    """The contests on one supernet."""

    name: str
    rows: dict[Kind, list[Row]]
    """One row for each seed, in turn."""


class Compare:
    """One comparison, from the command line's options to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read everything and refuse what cannot be, before anything long begins."""
        self.options = options
        self.training = read_training(options.config)
        self.search = self._search()
        self.trainings = Trainings(self.training, options.cache, options.processes)
        self.num_steps = options.steps or TrainingRunner(self.training).num_steps
        self.found = [self._read_run(number) for number in range(len(options.runs))]
        self.cup = self._cup() if options.supernet else None

    def _search(self) -> SearchFile:
        """The searches' settings, which must agree."""
        options = self.options
        folders = [path.parent.parent for path in options.supernet]
        folders += [_folder(path) for path in options.runs]
        paths = [options.search] if options.search else [one / "config.yaml" for one in folders]
        first, *others = [read_search(path) for path in paths]
        for path, other in zip(paths[1:], others, strict=True):
            if other != first:
                raise UserError(
                    f"{path} searches in another manner than {paths[0]}: compare them apart, or"
                    " give the settings to use by --search"
                )
        return dataclasses.replace(first, target=options.target) if options.target else first

    def _cup(self) -> Cup:
        options = self.options
        rules = Rules(self.search, options.evaluations, options.top)
        path = options.cache.with_name(f"{options.cache.stem}-contests.jsonl")
        return Cup(rules, self.training, options.supernet, path, options.processes)

    def _read_run(self, number: int) -> Choice:
        """The network that a finished search chose."""
        path = self.options.runs[number]
        folder, file = _folder(path), path if path.suffix == ".json" else path / "arch.json"
        found = read_arch(file)
        check_shape(f"{file} has", found.spec, self.training.make_data())
        model = cost_model(found.unit, found.space, self.search.table, self.search.table_cache)
        spent = Spent.read(folder / "cost.json")
        return Choice("searches", str(path), number, found.space, found.arch, model, spent)

    # --- the two stages -----------------------------------------------------------------------

    def contests(self) -> list[Contested]:
        """Let the controllers compete on each supernet."""
        if not self.cup:
            return []
        supernets, kinds = range(len(self.options.supernet)), self.options.controllers
        seeds = range(self.options.seeds)
        # The seed is outermost, so that a table of what is finished is balanced.
        entries = [Entry(net, kind, seed) for seed, net, kind in product(seeds, supernets, kinds)]
        rows = dict(zip(entries, self.cup.rows(entries), strict=True))
        return [
            Contested(
                f"supernet {net + 1}" if len(supernets) > 1 else "supernet",
                {kind: [rows[Entry(net, kind, seed)] for seed in seeds] for kind in kinds},
            )
            for net in supernets
        ]

    def choices(self, contests: Sequence[Contested]) -> list[Choice]:
        """What the controllers and the finished searches chose."""
        return [*self._contest_choices(contests), *self.found] if self.options.retrain else []

    def _contest_choices(self, contests: Sequence[Contested]) -> Iterator[Choice]:
        for net, contested in enumerate(contests):
            assert self.cup
            arena = self.cup.arena
            spent = arena.supernets[net].spent
            for kind, rows in contested.rows.items():
                group = f"{kind}, {contested.name}" if len(contests) > 1 else kind
                for row in rows[: self.options.retrain]:
                    yield Choice(
                        group,
                        f"{group}, seed {row['seed']}",
                        row["seed"],
                        arena.space,
                        arena.space.decode(row["choice"]["code"]),
                        arena.objective.cost_model,
                        spent and spent.plus_scoring(row["image_macs"], row["seconds"]),
                    )

    def retrained(self, choices: Sequence[Choice]) -> list[Comparison]:
        """Train choices and random networks from scratch."""
        options = self.options
        if not choices:
            return []
        return compare_retrained(
            choices, self.trainings, options.random, options.trainings, self.num_steps
        )

    def report(self, contests: Sequence[Contested], comparisons: Sequence[Comparison]) -> Report:
        """What was found, in tables."""
        facts, tables = [], {}
        for contested in contests:
            tables[contested.name] = contest_table(contested.rows)
        if contests:
            facts += contest_facts(next(iter(contests[0].rows.values())), self.options.top)
        if comparisons:
            tables |= retrained_tables(comparisons)
            facts += [f"trainings of {self.num_steps} steps", *retrained_facts(comparisons)]
        return Report(facts, tables)


def _folder(run: Path) -> Path:
    return run.parent if run.suffix == ".json" else run


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare controllers, and say what they gained."""
    options = parse(arguments)
    torch.set_num_threads(1)
    compare = Compare(options)
    contests = compare.contests()
    comparisons = compare.retrained(compare.choices(contests))
    report = compare.report(contests, comparisons)
    options.run.mkdir(parents=True, exist_ok=True)
    content = {
        "options": {name: str(value) for name, value in vars(options).items()},
        **report.plain(),
        "contests": {one.name: one.rows for one in contests},
        "retrained": [one.plain() for one in comparisons],
    }
    write_atomic(options.run / "compare.json", (json.dumps(content, indent=1) + "\n").encode())
    figure = draw_comparison([one.rows for one in contests], comparisons)
    save_figure(figure, options.run / "compare.png")
    report.print()
