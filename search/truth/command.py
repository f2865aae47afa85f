"""``mnasnet compare --truth TABLE --data DIR``: what is a search worth on others' accuracies?

Each controller searches a table of trained networks with as many evaluations as random search. On
a table of a space whole searches run too, whose tunings are simulated (docs/outside-truth.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from search.controllers.settings import Kind
from search.evaluation.estimates import Report, TextTable
from search.evaluation.jobs import CachedJobs, Row, other_commits
from search.evaluation.workers import Workers
from search.truth.counts import count_tables, read_clutter
from search.truth.figure import draw_trials
from search.truth.predictors import predictor_tables
from search.truth.report import conclusion, search_tables, trial_tables
from search.truth.searches import KINDS, METHODS, Search, SearchRunner, search_identity
from search.truth.simulation import SETTINGS
from search.truth.sources import PUBLIC, Source
from search.truth.trials import NOISES, Noise, Rules, Trial, TrialRunner, trials_of
from supernet.command.arguments import Parser, positive_int
from supernet.command.output import say
from supernet.display.figures import save_figure
from supernet.errors import UserError
from supernet.files.locking import locked
from supernet.files.writing import write_json
from supernet.report.report import report_after
from supernet.run.folder import make_folder

TRIALS, SEARCHES = "outside_controllers.jsonl", "outside_truth.jsonl"
COUNTS, PREDICTIONS = "outside_counts.jsonl", "outside_predictors.jsonl"
"""Files of rows."""


def truth_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.truth", description=__doc__)
    add = parser.add_argument
    tables = f"tables: {', '.join(PUBLIC)}, or a yaml file that describes one's own"
    add("--truth", nargs="*", default=[], metavar="TABLE", help=tables)
    add("--data", type=Path, metavar="DIR", help="folder of the public tables, a folder for each")
    add("--cost", default="macs", help="what is limited: macs, params or a column (macs)")
    add("--targets", nargs="+", default=["p20", "p50", "p80"], help="targets (p20 p50 p80)")
    add("--controllers", nargs="*", choices=KINDS, default=KINDS, help="to compare (all)")
    add("--noise", nargs="+", default=["training"], help=_noise_help())
    add("--evaluations", type=int, default=500, help="networks scored in a trial (500)")
    add("--seeds", type=positive_int, default=20, help="trials of each controller (20)")
    methods = ["slices", "ppo", "evolution", "random"]
    add("--searches", nargs="*", choices=list(METHODS), default=methods, help=_search_help())
    known = "how well their tunings rank (clear hard)"
    add("--settings", nargs="+", choices=list(SETTINGS), default=["clear", "hard"], help=known)
    add("--counts", action="store_true", help="compare sets of counts, and search nothing")
    predictors = "compare predictors that learn from few trainings, and search nothing"
    add("--predictors", action="store_true", help=predictors)
    trainings = "trainings of clutter networks, for --predictors and --counts"
    add("--trainings", type=Path, metavar="JSONL", help=trainings)
    add("--processes", type=positive_int, default=1, help="trials at a time (1)")
    add("--cache", type=Path, metavar="DIR", help="folder of the rows (that of --run)")
    place = "folder for compare.json, compare.png and report.html"
    add("--run", type=Path, default=Path("runs/compare"), help=place)
    options = parser.parse_args(arguments)
    if not options.truth:
        raise UserError(f"--truth names no table: give {', '.join(PUBLIC)}, or a yaml file")
    options.noise = [Noise.of(text) for text in options.noise]
    if options.trainings and not (options.counts or options.predictors):
        raise UserError(
            "--trainings is for --predictors and --counts: add one of them, or leave it out"
        )
    return options


def _noise_help() -> str:
    return f"what evaluations show: {', '.join(NOISES)}, or TAU:BIAS of a score (training)"


def _search_help() -> str:
    return "whole searches on tables of a space, by controller (slices ppo evolution random)"


class TruthComparison:
    """One comparison, from the command line's options to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read the tables and refuse what cannot be, before anything long begins."""
        self.options, self.rules = options, Rules(options.evaluations, options.cost)
        given = [Source(name, options.data) for name in options.truth]
        self.sources = {one.key: one for one in given}
        if len(self.sources) < len(given):
            raise UserError("--truth names a table twice, or two with one name: name each once")
        self.runner = TrialRunner(self.sources, self.rules)
        self.folder: Path = options.cache or options.run

    def check(self, name: str) -> None:
        """Refuse what a trial on a table would refuse in its first step.

        Raises:
            UserError: for a target, a cost or a noise that the table does not have.
        """
        for target in self.options.targets:
            field = self.runner.field(name, target)
            if "cost_gradient" in self.options.controllers:
                sizes = field.sizes
                field.objective.costs.expected(torch.ones(len(sizes), int(sizes.max())))
            if any(noise.name == "training" for noise in self.options.noise):
                field.truth.trained(torch.zeros(1, len(field.sizes), dtype=torch.long), 0)

    def trials(self) -> list[Row]:
        """Rows of the controllers' trials."""
        options = self.options
        kinds: Sequence[Kind] = options.controllers
        wanted = trials_of(list(self.sources), options.noise, options.targets, kinds, options.seeds)
        digests = {name: source.digest for name, source in self.sources.items()}
        jobs: CachedJobs[Trial] = CachedJobs(
            "trials",
            self.folder / TRIALS,
            ("config", "seed"),
            lambda trial: self.rules.identity(trial, digests[trial.truth]),
            # This process has read the tables already.
            Workers(partial(TrialRunner, self.sources, self.rules), options.processes)
            if options.processes > 1
            else partial(map, self.runner),
            status=lambda row: f"{row['controller']}, seed {row['seed']}: {row['regret']:.2f}",
        )
        return jobs.rows(wanted)

    def searches(self) -> list[Row]:
        """Rows of whole searches on tables of a space."""
        options = self.options
        spaces = [name for name in self.sources if self.runner.truth(name).networks.space]
        wanted = [
            Search(name, method, setting, target, seed)
            for seed in range(options.seeds)
            for name in spaces
            for setting in options.settings
            for target in options.targets
            for method in options.searches
        ]
        jobs: CachedJobs[Search] = CachedJobs(
            "searches",
            self.folder / SEARCHES,
            ("config", "seed"),
            partial(search_identity, self.sources, options.cost),
            Workers(partial(SearchRunner, self.sources, options.cost), options.processes),
            status=lambda row: f"{row['method']}, seed {row['seed']}: {row['regret']:.2f}",
        )
        return jobs.rows(wanted)

    def rankings(self) -> Mapping[str, TextTable]:
        """How well a few trainings rank all networks: by predictors, and by sets of counts."""
        tables = [source.read() for source in self.sources.values()]
        tables += read_clutter(self.options.trainings) if self.options.trainings else []
        found: dict[str, TextTable] = {}
        if self.options.predictors:
            found |= predictor_tables(tables, self.folder / PREDICTIONS)
        if self.options.counts:
            found |= count_tables(tables, self.folder / COUNTS)
        return found

    def facts(self, rows: Sequence[Row]) -> list[str]:
        """Lines that say what was compared."""
        truths = {name: self.runner.truth(name) for name in self.sources}
        told = [f"{name}: {truth.held_out}" for name, truth in truths.items()]
        for name in self.sources:
            for target in self.options.targets:
                field = self.runner.field(name, target)
                mean, deviation = field.worths.mean(), field.worths.std()
                told.append(
                    f"{name}, {target} is {field.target.cost:.4g} {self.options.cost}: best"
                    f" {field.best:.2f}, random networks that hit it {mean:.2f}, sd {deviation:.2f}"
                )
        return [*told, *filter(None, [other_commits(rows)])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare controllers on tables of trained networks, and say what they gained."""
    options = truth_options(arguments)
    torch.set_num_threads(1)
    comparison = TruthComparison(options)
    if not (options.counts or options.predictors):
        for name in comparison.sources:
            comparison.check(name)
    make_folder(options.run)
    with locked(options.run):
        _compare(comparison)


def _compare(comparison: TruthComparison) -> None:
    options, rows = comparison.options, list[Row]()
    if options.counts or options.predictors:
        report = Report([], comparison.rankings())
    else:
        rows, searches = comparison.trials(), comparison.searches()
        tables = {**trial_tables(rows), **search_tables(searches)}
        report = Report(comparison.facts([*rows, *searches]), tables, conclusion(rows))
    write_json(options.run / "compare.json", report.plain(options, trials=rows))
    if rows:
        save_figure(draw_trials(rows), options.run / "compare.png")
    report_after(options.run, say)
    report.print()
