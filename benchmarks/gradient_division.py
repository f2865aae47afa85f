"""By what a slice's gradient is divided: all N ranks, as DDP does, or the k that have trained it.

``python -m benchmarks.gradient_division`` trains shared weights on cluttered digits on two
processes, both ways, with several seeds. 60 networks, whose own trainings are kept, say how well
their slices rank, as they are and tuned on their own. It can be stopped and run again: finished
searches and evaluations are kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, distributed

import search.module
from benchmarks.record import RESULTS, print_head
from search.cli import SearchCLI, search_callbacks
from search.evaluation.estimates import Mean, cell
from search.evaluation.frozen_supernet import FrozenSupernet
from search.evaluation.jobs import CachedJobs, Row, commit, identified
from search.evaluation.trainings import TrainingRunner, Trainings, jobs_of
from search.gradients.reduction import GradientReduction, box_of
from search.rank.networks import BandNetwork, uniform_group
from search.rank.scores import evaluations
from search.settings import BESIDE_SLICES, Final
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.latency.table.table import LatencyTable
from supernet.space.arch import Path as ArchPath
from supernet.training.config import read_training

NAME, CHILD, RANKS = "gradient_division", "--child", 2
SEARCH, RETRAIN = "configs/clutter/search.yaml", "configs/clutter/retrain.yaml"
NETWORKS, BANDS, DRAWN = 60, 3, 1
"""Networks that rank slices, their bands of cost, and the seed they are drawn with."""
TUNED = {"slices": 0, "tuned": BESIDE_SLICES}
"""Steps that slices are tuned for before they are judged."""
SHARE = 0.875
"""Of a search's steps; the tunings that follow them need some."""


class ByUsers(GradientReduction):
    """The mean over those ranks that have trained a weight."""

    @torch.no_grad()
    def __call__(self, paths: Sequence[ArchPath], stream: bool) -> None:
        """Undo the division by all, and divide by those."""
        super().__call__(paths, stream)
        views, ranks = self._views(paths, stream), distributed.get_world_size()
        for view, users in zip(views, self._users(paths, stream), strict=True):
            view.mul_(ranks / users)

    def _users(self, paths: Sequence[ArchPath], stream: bool) -> Iterator[Tensor]:
        """How many ranks have trained each weight of the boxes that were exchanged."""
        own = paths[distributed.get_rank() :: distributed.get_world_size()]
        mine = dict(self._slices.taken(own, stream))
        for place, boxes in self._slices.covering(paths, stream).items():
            mask = torch.zeros_like(self._parameters[place])
            for box in mine.get(place, ()):
                box_of(mask, box).fill_(1)
            distributed.all_reduce(mask)
            yield from (box_of(mask, box).clamp(min=1) for box in boxes)


WAYS: dict[str, type[GradientReduction]] = {"all ranks": GradientReduction, "users": ByUsers}


def train(way: str, words: list[str]) -> None:
    """Run a search whose gradients are divided in one of the ways."""
    with mock.patch.object(search.module, "GradientReduction", WAYS[way]):
        SearchCLI(search.module.SearchModule, "search", search_callbacks, args=words)


def checkpoint_of(folder: Path, way: str, seed: int, steps: int) -> Path:
    """The weights of a search, which runs now unless it has ended."""
    run = folder / f"{way.replace(' ', '-')}-{seed}"
    checkpoint = run / "checkpoints" / "last.ckpt"
    if not (run / "arch.json").exists():
        words = ["fit", "-c", SEARCH, "--run", str(run), "--seed_everything", str(seed)]
        words += ["--trainer.devices", str(RANKS), "--trainer.max_steps", str(steps)]
        words += ["--model.schedule.share", str(SHARE), "--model.target", "p50"]
        words += ["--model.table", str(RESULTS / "clutter-latency.json")]
        words += ["--ckpt_path", "last"] * checkpoint.exists()
        child = [sys.executable, "-m", f"benchmarks.{NAME}", CHILD, way, *words]
        # Its own last line says what is wrong.
        if status := subprocess.run(child, check=False).returncode:
            raise SystemExit(status)
    return checkpoint


class Judge:
    """Networks of the yardstick and what their own trainings reached."""

    def __init__(self, cache: Path) -> None:
        training = read_training(RETRAIN)
        self.runner = TrainingRunner(training)
        self.scores = cache.with_stem("gradient-division-scores")
        self.trainings = Trainings(training, cache, processes=1)

    def taus(self, checkpoint: Path) -> dict[str, float]:
        """Mean accuracy of slices, as they are and tuned, and how well they rank."""
        supernet = FrozenSupernet(checkpoint, self.runner, Final().recalibration_images)
        table = LatencyTable.read(RESULTS / "clutter-latency.json")
        networks = uniform_group(supernet.space, table, NETWORKS, BANDS, DRAWN).networks
        truth = self._truth(networks)
        found = {}
        for name, steps in TUNED.items():
            rows = evaluations(supernet, networks, self.scores, steps)
            values = [row["probability" if steps else "accuracy"] for row in rows]
            found[f"{name}_accuracy"] = float(np.mean([row["accuracy"] for row in rows]))
            found[f"{name}_tau"] = float(kendalltau(values, truth).statistic)
        return found

    def _truth(self, networks: Sequence[BandNetwork]) -> np.ndarray:
        jobs = jobs_of([one.spec for one in networks], range(3), self.runner.num_steps)
        rows = self.trainings.rows(jobs)
        return np.array([row["test"] for row in rows]).reshape(3, -1).mean(0)


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", type=int, default=3, metavar="N", help="searches each way (3)")
    add("--steps", type=int, default=1200, help=f"of a search, {SHARE:.0%}% of them shared (1200)")
    add("--runs", type=Path, default=Path("runs/gradient-division"), help="folder of the searches")
    add("--cache", type=Path, default=RESULTS / "clutter-trainings.jsonl", help="of the trainings")
    return parser.parse_args()


class Division(NamedTuple):
    """A search whose gradients are divided in one of the ways."""

    way: str
    seed: int


def identity(steps: int, job: Division) -> Row:
    """What identifies its row."""
    return identified({"way": job.way, "ranks": RANKS, "steps": steps, "share": SHARE}, job.seed)


def divisions(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Rows of all seeds by the ways; what is missing is trained and judged now."""
    judge = Judge(options.cache)

    def measure(job: Division) -> Row:
        checkpoint = checkpoint_of(options.runs, *job, options.steps)
        return {**known(job), "commit": commit(), **judge.taus(checkpoint)}

    known, path = partial(identity, options.steps), RESULTS / f"{NAME}.jsonl"
    jobs = CachedJobs(NAME, path, ("config", "seed"), known, partial(map, measure))
    # Seed by seed, so that what is finished is balanced.
    rows = jobs.rows(Division(way, seed) for seed in range(options.seeds) for way in WAYS)
    return {way: rows[place :: len(WAYS)] for place, way in enumerate(WAYS)}


def main() -> None:
    """Train, judge and print both ways."""
    if sys.argv[1:2] == [CHILD]:
        return train(sys.argv[2], sys.argv[3:])
    options = parse_options()
    torch.set_num_threads(1)
    found = divisions(options)
    print_head(row for rows in found.values() for row in rows)
    columns = [f"{name}_{what}" for name in TUNED for what in ("accuracy", "tau")]
    table = new_table("divided by", *columns, left=["divided by"])
    for way, rows in found.items():
        table.add_row(way, *(cell(Mean.of([row[one] for row in rows]).estimate) for one in columns))
    pairs = list(zip(found["users"], found["all ranks"], strict=True))
    gains = (Mean.of([one[name] - two[name] for one, two in pairs]) for name in columns)
    table.add_row("users less all", *(cell(gain.estimate) for gain in gains))
    print_table(table)
    return None


if __name__ == "__main__":
    run_command(main, trains=True)
