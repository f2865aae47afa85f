"""What searches find, trained from scratch, beside random networks of the same cost.

``python -m benchmarks.searches --methods "tuned" "none=--model.schedule.share 0"`` runs each method
(a name, and options of ``python -m search fit``) for each target and seed, or finds it among the
rows of ``--name``. What several methods tune alike, from the same weights, is tuned once, and
counts for each of them. Every choice is trained with fresh seeds. Each target has controls: ten
uniform networks of its band, trained once each; the best of them by validation accuracy, trained
with the fresh seeds; and the rule "fewest layers", three networks of as few layers as uniform
draws hold, trained once each. With ``--asked_again p50`` the search for that target is also asked
for the others (``python -m search choose``), which makes a method more. It can be stopped and run
again: finished searches and trainings are kept.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.figures import Expected, draw_expected, draw_gains
from benchmarks.record import RESULTS, config_hash, machine, record
from search.controllers.random_search import draw_uniform
from search.evaluation.estimates import Mean, cell
from search.evaluation.jobs import Row, other_commits
from search.evaluation.trainings import Job, Trainings, read_space_for
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.surrogate.proposals import canonical_codes, hits, uniform_codes
from supernet.arch_file import read_arch
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.display.figures import save_figure
from supernet.space.spec import NetSpec
from supernet.training.config import read_training

FIRST_FRESH = 100
"""Seed of the first fresh training: a search has never seen it."""
CONTROLS, FEWEST, DRAWS = 10, 3, 400_000
"""Random networks, networks of fewest layers, and uniform draws these are looked for among."""


class Controls(NamedTuple):
    """Test accuracies of a target's networks that no search has found."""

    random: Mean
    """Of random networks."""
    best: Mean
    """Of the best of them, by fresh trainings."""
    fewest: Mean
    """Of networks of fewest layers."""
    cpu_seconds: float
    """Mean CPU time of training one of the random networks."""


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--search", type=Path, default=Path("configs/clutter/search.yaml"))
    add("-c", "--config", type=Path, default=Path("configs/clutter/retrain.yaml"))
    add("--space", type=Path, default=Path("configs/spaces/clutter.yaml"))
    add("--table", type=Path, default=RESULTS / "clutter-latency.json")
    add("--methods", nargs="+", default=["default"], metavar="NAME[=OPTIONS]")
    add("--targets", nargs="+", default=["p20", "p30", "p50", "p70", "p80"])
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    add("--trainings", type=int, default=3, help="of each choice, with fresh seeds (3)")
    add("--steps", type=int, help="of a training, instead of the config's")
    add("--name", default="clutter-searches", help="of the file in benchmarks/results")
    add("--runs", type=Path, default=Path("runs/searches"), help="folder of the searches")
    add("--cache", type=Path, default=Path("runs/standalone.jsonl"), help="of the trainings")
    add("--processes", type=int, default=1, help="trainings at a time (1)")
    add("--asked_again", metavar="TARGET", help="whose searches also choose for the other targets")
    add("--search_only", action="store_true", help="search, and train nothing")
    add("--plot", type=Path, metavar="PNG", help="draw what choices have beyond random networks")
    add("--plot_expected", type=Path, metavar="PNG", help="draw that beside what was expected")
    return parser.parse_args()


def read_methods(given: Sequence[str]) -> dict[str, str]:
    """Options of ``search fit`` by the names of methods."""
    parts = (one.partition("=") for one in given)
    return {name: options for name, _, options in parts}


class Searches:
    """Finished searches, by method, target and seed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.path = options, RESULTS / f"{options.name}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known = {self._key(row): row for row in map(json.loads, lines)}

    @staticmethod
    def _key(row: Row) -> tuple[str, str, int]:
        return row["config"], row["target"], row["seed"]

    def row(self, method: str, words: str, target: str, seed: int, asked: str | None = None) -> Row:
        """A search, or a choice by a search for the target ``asked``; done now or found."""
        settings = {"search": str(self.options.search), "options": words}
        config = {**settings, "method": method, "target": target}
        key = config_hash(config), target, seed
        if key not in self.known:
            folder = self._choose if asked else self._search
            result = _result(folder(words, asked or target, seed, target))
            record(self.options.name, config, seed, result)
            self.known[key] = json.loads(self.path.read_text().splitlines()[-1])
        return self.known[key]

    def _folder(self, words: str, target: str, seed: int) -> Path:
        return self.options.runs / f"{config_hash(words)}-{target}-{seed}"

    def _choose(self, words: str, asked: str, seed: int, target: str) -> Path:
        folder = self._folder(words, asked, seed)
        out = folder / "choices" / target
        line = [sys.executable, "-m", "search", "choose", "--run", folder, "--target", target]
        line += ["--out", out, "--wandb.mode", "disabled"]
        subprocess.run([str(word) for word in line], check=True, stdout=subprocess.DEVNULL)
        return out

    def _search(self, words: str, target: str, seed: int, _: str) -> Path:
        folder = self._folder(words, target, seed)
        line = [sys.executable, "-m", "search", "fit", "-c", self.options.search]
        line += ["--run", folder, "--model.target", target, "--seed_everything", seed]
        line += ["--model.table", self.options.table, "--model.final.measured", 0]
        line += ["--wandb.mode", "disabled", *shlex.split(words)]
        if (folder / "config.yaml").exists():
            line += ["--ckpt_path", "last"]
        else:
            self._lend_tunings(folder, f"{target}-{seed}")
        subprocess.run([str(word) for word in line], check=True, stdout=subprocess.DEVNULL)
        return folder

    def _lend_tunings(self, folder: Path, question: str) -> None:
        """Give a search what other methods have tuned for its target and seed.

        It takes what began with the same weights, and counts it as its own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(self.options.runs.glob(f"*-{question}/tunings-rank0.jsonl"))
        lines = dict.fromkeys(
            "".join(path.read_text() for path in others).splitlines(keepends=True)
        )
        (folder / "tunings-rank0.jsonl").write_text("".join(lines))


def _result(folder: Path) -> Row:
    """What a finished search or choice has found, and what it cost."""
    found = read_arch(folder / "arch.json")
    spent = json.loads((folder / "cost.json").read_text())
    return {
        "network": json.loads(found.spec.to_json()),
        "blocks": found.spec.block_strings(),
        "predicted": found.predicted,
        "tuned_accuracy": found.accuracy,
        **{name: spent[name] for name in ("cpu_seconds", "image_macs")},
        **_surrogate(folder / "surrogate.json"),
    }


def _surrogate(path: Path) -> dict[str, Any]:
    """What a search by tunings says of its surrogate."""
    if not path.exists():
        return {}
    held = json.loads(path.read_text())
    (gain,) = held["expected"].values()
    steps = {name: held[name] for name in ("shared_steps", "label_steps", "final_steps")}
    return {**steps, "penalty": held["penalty"], **held["leave_one_out"], "expected": gain}


class Judge:
    """Trainings from scratch of choices and of controls."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.training = options, read_training(options.config)
        self.space = read_space_for(options.space, self.training.make_data())
        self.trainings = Trainings(self.training, options.cache, options.processes)
        self.steps = options.steps or self.training.max_steps

    def rows(self, specs: Sequence[NetSpec], seeds: Sequence[int]) -> list[Row]:
        """Trainings of networks, each with all seeds."""
        return self.trainings.rows([Job(one, seed, self.steps) for one in specs for seed in seeds])

    @property
    def fresh(self) -> range:
        """Seeds that a choice is trained with."""
        return range(FIRST_FRESH, FIRST_FRESH + self.options.trainings)

    def value(self, found: Row) -> float:
        """Mean test accuracy of a search's choice, trained with the fresh seeds."""
        spec = NetSpec.from_json(json.dumps(found["network"]))
        return float(np.mean([row["test"] for row in self.rows([spec], self.fresh)]))

    def controls(self, target: str) -> Controls:
        """What networks of a target's band are worth without a search."""
        specs = self._uniform(target)
        rows = self.rows(specs, [0])
        place = max(range(len(rows)), key=lambda place: rows[place]["val"])
        fewest = self.rows(self._fewest(target), [0])
        cpu = float(np.mean([row["cpu_seconds"] for row in rows]))
        again = self.rows([specs[place]], self.fresh)
        random, best, few = (
            Mean.of([row["test"] for row in some]) for some in (rows, again, fewest)
        )
        return Controls(random, best, few, cpu)

    def _objective(self, target: str) -> Objective:
        return Objective.resolve(
            self.space, Reward(), target, "ms", str(self.options.table), "runs/tables"
        )

    def _uniform(self, target: str) -> list[NetSpec]:
        objective, generator = self._objective(target), torch.Generator().manual_seed(0)
        codes = uniform_codes(objective, objective.targets[0], CONTROLS, (), generator)
        return [self.space.spec(self.space.decode(code)) for code in codes]

    def _fewest(self, target: str) -> list[NetSpec]:
        objective, generator = self._objective(target), torch.Generator().manual_seed(1)
        rows = draw_uniform(torch.tensor(self.space.decision_sizes), DRAWS, generator)
        rows = rows[hits(objective, objective.targets[0], rows)]
        codes = canonical_codes(objective, rows)
        specs = [self.space.spec(self.space.decode(code)) for code in codes]
        return sorted(specs, key=lambda spec: sum(1 for _ in spec.layers()))[:FEWEST]


def main() -> None:
    """Search, train, and print a table for each method."""
    options = parse_options()
    torch.set_num_threads(1)
    methods, searches = read_methods(options.methods), Searches(options)
    found = {
        (name, target, seed): searches.row(name, words, target, seed)
        for seed in options.seeds
        for target in options.targets
        for name, words in methods.items()
    }
    if asked := options.asked_again:
        found |= {
            (f"{name} from {asked}", target, seed): searches.row(
                f"{name} from {asked}", words, target, seed, asked
            )
            for seed in options.seeds
            for target in options.targets
            for name, words in methods.items()
        }
    print(f"# {machine()}")
    if other := other_commits(found.values()):
        print(f"# {other}")
    if not options.search_only:
        report(found, Judge(options), options)


Key = tuple[str, str, int]
"""Method, target and seed of a search."""


def report(found: dict[Key, Row], judge: Judge, options: argparse.Namespace) -> None:
    """Print what choices are worth, in points of test accuracy, and what searches cost."""
    values = {key: judge.value(row) for key, row in found.items()}
    controls = {target: judge.controls(target) for target in options.targets}
    methods = list(dict.fromkeys(method for method, *_ in found))
    head = ["choice", "less random", "worst", "less best of ten", "less fewest layers"]
    beside = f"less {methods[0]}"
    table = new_table("method", "target", *head, beside, "trainings", left=["method", "target"])
    gains: dict[str, dict[str, list[float]]] = {method: {} for method in methods}
    for method in methods:
        pooled: dict[str, list[float]] = defaultdict(list)
        for target in options.targets:
            known, columns = controls[target], defaultdict(list)
            for key in ((method, target, seed) for seed in options.seeds):
                columns["choice"].append(values[key])
                for name, control in zip(Controls._fields[:3], known[:3], strict=True):
                    columns[name].append(values[key] - control.value)
                columns["first"].append(values[key] - values[methods[0], *key[1:]])
                columns["trainings"].append(found[key]["cpu_seconds"] / known.cpu_seconds)
            table.add_row(method, target, *_cells(columns))
            gains[method][target] = [100 * value for value in columns["random"]]
            for name, some in columns.items():
                pooled[name] += some
        table.add_row(method, "all", *_cells(pooled))
    print_table(table)
    _report_expected(_beside_truth(found, gains), options.plot_expected)
    if options.plot:
        save_figure(draw_gains(gains), options.plot)


def _report_expected(expected: Mapping[str, Sequence[Expected]], plot: Path | None) -> None:
    for method, searches in expected.items():
        print(f"# {method}: {_agreement(searches)}")
    if plot:
        save_figure(draw_expected(expected), plot)


def _beside_truth(
    found: Mapping[Key, Row], gains: Mapping[str, Mapping[str, Sequence[float]]]
) -> dict[str, list[Expected]]:
    """What searches said of themselves, and what came true, in points, by method."""
    by_method: dict[str, list[Expected]] = defaultdict(list)
    for method, by_target in gains.items():
        for target, true in by_target.items():
            rows = [row for key, row in found.items() if key[:2] == (method, target)]
            for row, value in zip(rows, true, strict=True):
                said = {name: 100 * row["expected"][name] for name in ("value", "low", "high")}
                by_method[method].append(Expected(**said, true=value))
    return by_method


def _agreement(searches: Sequence[Expected]) -> str:
    """How what searches said agrees with what came true, in words."""
    said, true = np.array([(one.value, one.true) for one in searches]).T
    inside = sum(one.low <= one.true <= one.high for one in searches)
    below = sum(one.true < one.low for one in searches)
    return (
        f"expected {said.mean():.1f} points, found {true.mean():.1f}; {inside} of {len(searches)}"
        f" intervals hold the truth, {below} lie above it; correlation"
        f" {np.corrcoef(said, true)[0, 1]:.2f}"
    )


def _cells(columns: Mapping[str, Sequence[float]]) -> list[str]:
    worst = f"{100 * min(columns['random']):.1f}"
    names = ("choice", "random", "best", "fewest", "first")
    cells = [cell(Mean.of(columns[name]).estimate * 100) for name in names]
    if not any(columns["first"]):
        cells[-1] = ""
    return [*cells[:2], worst, *cells[2:], f"{np.mean(columns['trainings']):.1f}"]


if __name__ == "__main__":
    run_command(main, trains=True)
