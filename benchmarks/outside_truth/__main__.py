"""``python -m benchmarks.outside_truth``: searches on accuracies that others have measured."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.outside_truth.counts import report_counts
from benchmarks.outside_truth.report import Key, print_report
from benchmarks.outside_truth.searches import KINDS, METHODS
from benchmarks.outside_truth.simulation import SETTINGS
from benchmarks.outside_truth.tables import ACCEL_SPACE, read_accel, read_macro
from benchmarks.outside_truth.truth import Field, Truth
from benchmarks.record import RESULTS, config_hash, record
from search.evaluation.jobs import Row, commit
from search.objective.objective import Objective
from search.objective.reward import Reward
from supernet.command.arguments import Parser, positive_int
from supernet.command.output import say
from supernet.command.process import run_command
from supernet.errors import UserError

NAME, COUNTS_NAME = "outside_truth", "outside_counts"
"""Files of rows in benchmarks/results."""
TEN = 10
"""Random networks, of which the best is what ten trainings would find."""


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = Parser(prog="python -m benchmarks.outside_truth", description=__doc__)
    add = parser.add_argument
    add("--accel", type=Path, required=True, metavar="CSV", help="networks of Accel-NASBench")
    add("--macro", type=Path, metavar="CSV", help="networks of NAS-Bench-Macro, for --features")
    add("--trainings", type=Path, metavar="JSONL", help="of clutter networks, for --features")
    add("--features", action="store_true", help="compare counts of networks, and search nothing")
    add(
        "--seeds",
        type=positive_int,
        default=20,
        metavar="N",
        help="searches, seeds 0 to N - 1 (20)",
    )
    add("--targets", nargs="+", default=["p20", "p50", "p80"], help="quantiles of MACs")
    add("--settings", nargs="+", choices=list(SETTINGS), default=["clear", "hard"])
    some = ["slices", "ppo", "evolution", "random"]
    add("--methods", nargs="+", choices=["slices", *KINDS], default=some, help=" ".join(some))
    add("--folder", type=Path, default=RESULTS, help="of the rows")
    return parser.parse_args(arguments)


class Searches:
    """Searches on fields of a truth, done now or found among the rows of earlier commands."""

    def __init__(self, fields: dict[str, Field], folder: Path) -> None:
        self.fields, self.folder, self.path = fields, folder, folder / f"{NAME}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known = {(row["config"], row["seed"]): row for row in map(json.loads, lines)}

    def row(self, key: Key, seed: int) -> Row:
        """The row of one search."""
        setting = SETTINGS[key.setting]
        config = {**key._asdict(), **vars(setting), "setting": setting.name}
        del config["name"]
        place = config_hash(config), seed
        if place not in self.known:
            found = self._search(key, seed)
            record(NAME, config, seed, found, self.folder)
            head = {"config": place[0], "seed": seed, "commit": commit()}
            self.known[place] = {**head, **config, **found}
        return self.known[place]

    def _search(self, key: Key, seed: int) -> Row:
        field, start = self.fields[key.target], time.process_time()
        code = METHODS[key.method](field, SETTINGS[key.setting], seed)
        seconds = time.process_time() - start
        ten = np.random.default_rng(seed).choice(field.worths, TEN, replace=False)
        accuracy = float(field.truth(torch.tensor([code]))[0])
        return {
            "code": list(code),
            "accuracy": accuracy,
            "regret": field.best - accuracy,
            "regret_of_mean": field.best - float(field.worths.mean()),
            "regret_of_best_of_ten": field.best - float(ten.max()),
            "cpu_seconds": seconds,
        }


def make_fields(truth: Truth, targets: Sequence[str]) -> dict[str, Field]:
    """Fields of a truth by the quantiles of MACs that are asked for."""
    resolved = {
        name: Objective.resolve(ACCEL_SPACE, Reward(), name, "macs", None, "") for name in targets
    }
    return {name: Field(truth, objective) for name, objective in resolved.items()}


def search_all(options: argparse.Namespace) -> None:
    """Run the searches that are missing, and print what all of them chose."""
    truth = Truth(read_accel(options.accel))
    say(f"truth: a regression on {len(truth.labels)} networks; {truth.held_out}")
    fields = make_fields(truth, options.targets)
    for name, field in fields.items():
        worths = f"mean {field.worths.mean():.2f}, sd {field.worths.std():.2f}"
        say(f"{name}, {field.target.cost:.4g} MACs: top-1 {worths}, best {field.best:.2f}")
    searches, rows = Searches(fields, options.folder), []
    for seed in range(options.seeds):
        for setting in options.settings:
            for target in options.targets:
                keys = [Key(method, setting, target) for method in options.methods]
                rows += [searches.row(key, seed) for key in keys]
    print_report(rows)


def compare_counts(options: argparse.Namespace) -> None:
    """Print how well regressions on a few networks rank the others, by what they count."""
    tables = [read_accel(options.accel)]
    if options.macro:
        tables.append(read_macro(options.macro))
    report_counts(tables, options.trainings, COUNTS_NAME, options.folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    options = parse_options(arguments)
    if not options.features and (options.macro or options.trainings):
        raise UserError("--macro and --trainings are for --features: add it, or leave them out")
    torch.set_num_threads(1)
    commit()  # of the code that is loaded, before anything long begins
    (compare_counts if options.features else search_all)(options)


if __name__ == "__main__":
    run_command(main)
