"""``mnasnet compare -c configs/clutter/retrain.yaml --supernet CKPT``: what is gained?

First every controller searches on a frozen supernet, each with several seeds and as many
evaluations as random search. Then choices, theirs or of finished searches (``--runs``), are trained
from scratch beside random networks of their cost.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import get_args

import torch

from search.compare.benchmark import Budget, SearchConfig, read_search
from search.compare.report import (
    TrialRows,
    conclusion,
    draw_comparison,
    retrained_facts,
    retrained_tables,
    trial_facts,
    trial_table,
)
from search.compare.retrained import Choice, ChoiceResult, retrain_choices
from search.compare.trials import Trial, Trials
from search.controllers.settings import Kind
from search.evaluation.estimates import Report
from search.evaluation.options import add_training_options, training_of
from search.evaluation.trainings import TrainingRunner, Trainings, check_shape
from search.monitoring.compute import Spent
from search.objective.costs import cost_model
from supernet.arch_file import read_arch
from supernet.command.arguments import Parser, config_path
from supernet.command.output import say
from supernet.display.figures import save_figure
from supernet.errors import UserError, check_range
from supernet.files.locking import locked
from supernet.files.writing import write_json
from supernet.report.report import report_after
from supernet.run.folder import make_folder

KINDS: tuple[Kind, ...] = get_args(Kind)


def comparison_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m search.compare", description=__doc__)
    add_training_options(parser)
    add = parser.add_argument
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
        type=config_path,
        metavar="YAML",
        help="settings of the searches, by default config.yaml of their runs",
    )
    truth = "search a table: see --truth --help"
    add("--truth", nargs="*", metavar="TABLE", help=truth)
    add("--target", help="target, instead of the search's: 12, p40 or '0.8x mnasnet_a1'")
    add(
        "--controllers",
        nargs="+",
        choices=KINDS,
        default=KINDS,
        help="controllers to compare (all)",
    )
    add("--evaluations", type=int, default=2000, help="architectures scored in a trial (2000)")
    add("--seeds", type=int, default=10, help="trials of each controller (10)")
    add("--top", type=int, default=10, help="networks re-scored when a trial ends (10)")
    add("--retrain", type=int, default=1, help="seeds whose choice is retrained, 0 for none (1)")
    add("--random", type=int, default=10, help="random networks for each choice (10)")
    add(
        "--trainings",
        type=int,
        default=3,
        help="trainings of a choice and of the best random one (3)",
    )
    add(
        "--run",
        type=Path,
        default=Path("runs/compare"),
        help="folder for compare.json, compare.png and report.html",
    )
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


class Comparison:
    """One comparison, from the command line's options to its report."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read everything and refuse what cannot be, before anything long begins."""
        self.options = options
        self.training = training_of(options)
        self.search = self._search()
        self.trainings = Trainings(self.training, options.cache, options.processes, options.cluster)
        runner = TrainingRunner(self.training)
        say(runner.first_line)
        self.num_steps = options.steps or runner.num_steps
        self.found = [self._read_run(number) for number in range(len(options.runs))]
        self.trials = self._trials() if options.supernet else None

    def _search(self) -> SearchConfig:
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

    def _trials(self) -> Trials:
        options = self.options
        budget = Budget(self.search, options.evaluations, options.top)
        # Rows of the first versions are in files of this name.
        path = options.cache.with_name(f"{options.cache.stem}-contests.jsonl")
        return Trials(
            budget, self.training, options.supernet, path, options.processes, options.cluster
        )

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

    def run_trials(self) -> dict[str, TrialRows]:
        """Rows of the controllers' trials on each supernet, by its name."""
        if not self.trials:
            return {}
        supernets, kinds = range(len(self.options.supernet)), self.options.controllers
        seeds = range(self.options.seeds)
        # The seed is outermost, so that a table of what is finished is balanced.
        trials = [Trial(net, kind, seed) for seed, net, kind in product(seeds, supernets, kinds)]
        rows = dict(zip(trials, self.trials.rows(trials), strict=True))
        return {
            f"supernet {net + 1}" if len(supernets) > 1 else "supernet": {
                kind: [rows[Trial(net, kind, seed)] for seed in seeds] for kind in kinds
            }
            for net in supernets
        }

    def choices(self, trials: Mapping[str, TrialRows]) -> list[Choice]:
        """What the controllers and the finished searches chose."""
        return [*self._trial_choices(trials), *self.found] if self.options.retrain else []

    def _trial_choices(self, trials: Mapping[str, TrialRows]) -> Iterator[Choice]:
        for net, (name, by_kind) in enumerate(trials.items()):
            assert self.trials
            benchmark = self.trials.benchmark
            spent = benchmark.supernets[net].spent
            for kind, rows in by_kind.items():
                group = f"{kind}, {name}" if len(trials) > 1 else kind
                for row in rows[: self.options.retrain]:
                    yield Choice(
                        group,
                        f"{group}, seed {row['seed']}",
                        row["seed"],
                        benchmark.space,
                        benchmark.space.decode(row["choice"]["code"]),
                        benchmark.objective.cost_model,
                        spent
                        and spent.plus_scoring(
                            row["image_macs"] + row["judging_image_macs"],
                            row["seconds"] + row["judging_seconds"],
                        ),
                    )

    def retrain(self, choices: Sequence[Choice]) -> list[ChoiceResult]:
        """Train choices and random networks from scratch."""
        options = self.options
        if not choices:
            return []
        return retrain_choices(
            choices, self.trainings, options.random, options.trainings, self.num_steps
        )

    def report(self, trials: Mapping[str, TrialRows], results: Sequence[ChoiceResult]) -> Report:
        """What was found, in tables."""
        facts, tables = [], {name: trial_table(rows) for name, rows in trials.items()}
        for rows in islice(trials.values(), 1):
            facts += trial_facts(next(iter(rows.values())), self.options.top)
        if results:
            tables |= retrained_tables(results)
            facts += [f"trainings of {self.num_steps} steps", *retrained_facts(results)]
        return Report(facts, tables, conclusion(trials.values(), results))


def _folder(run: Path) -> Path:
    return run.parent if run.suffix == ".json" else run


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare controllers, and say what they gained."""
    options = comparison_options(arguments)
    torch.set_num_threads(1)
    comparison = Comparison(options)
    make_folder(options.run)
    with locked(options.run):
        _compare(comparison)


def _compare(comparison: Comparison) -> None:
    options, trials = comparison.options, comparison.run_trials()
    results = comparison.retrain(comparison.choices(trials))
    report = comparison.report(trials, results)
    content = report.plain(options, contests=trials, retrained=[one.plain() for one in results])
    write_json(options.run / "compare.json", content)
    figure = draw_comparison(list(trials.values()), results)
    save_figure(figure, options.run / "compare.png")
    report_after(options.run, say)
    report.print()
