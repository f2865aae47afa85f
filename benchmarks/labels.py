"""How well short tunings rank networks, and what a regression on them says of networks unseen.

``python -m benchmarks.labels`` tunes the 60 + 60 networks of the development and of the final set
for ``--steps``, as a search does, and keeps the loss of each step: from supernets that were trained
for ``--shared`` steps, with each of ``--searches`` as seed, and, for 0 steps, afresh. A table tells
for several lengths, with the mean loss over their second half and as a mean over the seeds:
Kendall's tau of a network's own loss with its accuracy trained alone, over all networks and within
bands of cost; that of the surrogate's regression, fitted to N networks of one set, on the other
set, the mean of both ways; and that of what finalists are chosen by, once all networks of a set
have been learned from. With ``--trained`` fewer of each set are the truth, and all are learned
from. It can be stopped and run again; ``--plot`` draws the table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.figures import draw_labels
from benchmarks.record import RESULTS, print_head
from search.evaluation.frozen_supernet import FrozenSupernet, laid_out, tune
from search.evaluation.jobs import CachedJobs, Row, commit
from search.evaluation.trainings import Job, TrainingRunner, Trainings, network_hash, read_space_for
from search.objective.costs import cost_model
from search.rank.networks import BandNetwork, uniform_group
from search.rank.statistics import Yardstick
from search.settings import WeightOptimizer
from search.surrogate.regression import fit_ridge
from search.surrogate.rounds import believed
from search.surrogate.surrogate import Surrogate
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.data.run_data import RunData
from supernet.display.figures import save_figure
from supernet.network.network import Network
from supernet.training.config import read_training

SETS, BANDS, NUM, REPEATS = (0, 1), 3, 60, 20
LENGTHS, SIZES = (5, 10, 15, 20, 30, 40), (16, 24, 32, 48, 60)
LEFT = 120
"""Steps that a search of this benchmark spends on tunings, which are not looked at: the fewest."""


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("-c", "--config", type=Path, default=Path("configs/clutter/retrain.yaml"))
    add("--search", type=Path, default=Path("configs/clutter/search.yaml"))
    add("--space", type=Path, default=Path("configs/spaces/clutter.yaml"))
    add("--table", type=Path, default=RESULTS / "clutter-latency.json")
    add("--shared", type=int, nargs="+", default=[0, 158, 420], help="steps of shared weights")
    add("--searches", type=int, nargs="+", default=[40, 41, 42], help="seeds of shared weights")
    add("--steps", type=int, default=max(LENGTHS), help="of each tuning")
    add("--truth_steps", type=int, help="of the trainings alone, instead of the config's")
    add("--seeds", type=int, default=3, help="of the trainings alone")
    add("--trained", type=int, nargs=2, default=[NUM, NUM], help="networks of each set, the first")
    add("--cache", type=Path, default=RESULTS / "clutter-trainings.jsonl", help="of those")
    add("--labels", type=Path, default=RESULTS / "clutter-labels.jsonl", help="of the tunings")
    add("--runs", type=Path, default=Path("runs/labels"), help="folder of the supernets")
    add("--plot", type=Path, metavar="PNG", help="draw the table")
    return parser.parse_args()


class Beginning(NamedTuple):
    """Weights that tunings begin with."""

    shared: int
    """Steps that they were shared for; 0 for networks that begin afresh."""
    seed: int

    def supernet(self, options: argparse.Namespace, runner: TrainingRunner) -> FrozenSupernet:
        """The supernet of a search that shares weights for so many steps."""
        run = options.runs / f"{self.shared}-{self.seed}"
        steps, share = self.shared + LEFT, self.shared / (self.shared + LEFT)
        line = [sys.executable, "-m", "search", "fit", "-c", options.search, "--run", run]
        line += ["--model.target", "p50", "--model.table", options.table]
        line += ["--trainer.max_steps", steps, "--model.schedule.share", f"{share:.6f}"]
        line += ["--seed_everything", self.seed, "--wandb.mode", "disabled"]
        if not (run / "arch.json").exists():
            subprocess.run([str(word) for word in line], check=True, stdout=subprocess.DEVNULL)
        return FrozenSupernet(run / "checkpoints/last.ckpt", runner, 1)


class Labels:
    """The networks of both sets with their true accuracies, and what tunings show of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.training = options, read_training(options.config)
        self.runner = TrainingRunner(self.training)
        self.space = read_space_for(options.space, self.runner.data)
        model = cost_model("ms", self.space, options.table, "runs/tables")
        groups = [uniform_group(self.space, model, NUM, BANDS, seed).networks for seed in SETS]
        self.networks: list[BandNetwork] = [one for group in groups for one in group]
        self.rows: list[Row] = []

    @cached_property
    def yardsticks(self) -> list[Yardstick]:
        """True accuracies of both sets."""
        steps = self.options.truth_steps or self.training.max_steps
        trainings = Trainings(self.training, self.options.cache, 1)
        seeds, found = range(self.options.seeds), []
        for place, num in enumerate(self.options.trained):
            group = self.networks[place * NUM :][:num]
            rows = trainings.rows([Job(one.spec, seed, steps) for one in group for seed in seeds])
            runs = np.array([row["test"] for row in rows]).reshape(num, len(seeds))
            bands = np.array([one.band for one in group])
            found.append(Yardstick(runs, bands, np.ones(num), resamples=1))
        return found

    def losses(self, beginning: Beginning) -> np.ndarray:
        """Loss of each step of each network's tuning, (120, S)."""
        steps = self.options.steps

        def identity(one: BandNetwork) -> Row:
            return {**beginning._asdict(), "network": network_hash(one.spec), "steps": steps}

        keys = ("shared", "seed", "network", "steps")
        tune_all = partial(self._tuned, beginning, identity)
        jobs = CachedJobs("tunings", self.options.labels, keys, identity, tune_all)
        rows = jobs.rows(self.networks)
        self.rows += rows
        return np.array([row["losses"] for row in rows])

    def _tuned(
        self,
        beginning: Beginning,
        identity: Callable[[BandNetwork], Row],
        networks: Sequence[BandNetwork],
    ) -> Iterator[Row]:
        supernet = beginning.supernet(self.options, self.runner) if beginning.shared else None
        data = RunData(self.runner.data, "search", beginning.seed)
        steps, optimizer = self.options.steps, WeightOptimizer()
        batches = [*map(laid_out(data), islice(data.endless_weights_batches(), steps))]
        for one in networks:
            network = supernet.supernet.extract(one.arch) if supernet else _fresh(one)
            network = network.to(memory_format=torch.channels_last)
            course = tune(network, batches, optimizer, steps, decays=False)
            rounded = [round(loss, 4) for loss in course.losses.tolist()]
            yield {**identity(one), "commit": commit(), "losses": rounded}

    @cached_property
    def inputs(self) -> np.ndarray:
        """Counts of the networks, in standard deviations, (120, F)."""
        codes = torch.tensor([self.space.encode(one.arch) for one in self.networks])
        return Surrogate(self.space).inputs(codes)

    def told(self, losses: np.ndarray, steps: int) -> dict[str, float]:
        """Taus of what so many steps of tunings tell, by the columns of the table."""
        quality = -losses[:, steps // 2 : steps].mean(axis=1)
        predicted = {num: unseen(self.inputs, quality, num) for num in SIZES}
        own, own_in_bands = taus(quality, self.yardsticks)
        chosen, chosen_in_bands = taus(selecting(self.inputs, quality), self.yardsticks)
        on_others = {
            f"on {num}": float(np.mean([taus(row, self.yardsticks)[0] for row in rows]))
            for num, rows in predicted.items()
        }
        return {
            "own": own,
            "own in bands": own_in_bands,
            **on_others,
            "chosen by": chosen,
            CHOSEN: chosen_in_bands,
        }


CHOSEN = "chosen by in bands"


def _fresh(one: BandNetwork) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(one.spec)


def taus(scores: np.ndarray, yardsticks: list[Yardstick]) -> list[float]:
    """Kendall's tau of scores (120,) over all networks and within bands, the mean of both sets."""
    found = []
    for place, yardstick in enumerate(yardsticks):
        own = scores[place * NUM :][: len(yardstick.truth)]
        statistics = yardstick.tau, yardstick.within_bands(yardstick.tau)
        found.append([float(one(own, yardstick.whole)[0]) for one in statistics])
    return [float(value) for value in np.mean(found, axis=0)]


def unseen(inputs: np.ndarray, quality: np.ndarray, num: int) -> np.ndarray:
    """Predictions (R, 120): of each set by regressions on ``num`` networks of the other one."""
    rng, found = np.random.default_rng(0), np.zeros((REPEATS, len(quality)))
    for row in found:
        for place in range(len(SETS)):
            here = slice(place * NUM, (place + 1) * NUM)
            others = (1 - place) * NUM + rng.permutation(NUM)[:num]
            row[here] = fit_ridge(inputs[others], quality[others]).predict(inputs[here])
    return found


def selecting(inputs: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """What a search would choose by (120,), had it learned from all networks of a set."""
    parts = [slice(place * NUM, (place + 1) * NUM) for place in range(len(SETS))]
    fits = ((quality[one], fit_ridge(inputs[one], quality[one]), inputs[one]) for one in parts)
    return np.concatenate([believed(own, fit.predict(given)) for own, fit, given in fits])


def beginnings(options: argparse.Namespace) -> list[Beginning]:
    """What is asked for: of fresh networks there is one kind."""
    seeds = {shared: options.searches if shared else [0] for shared in options.shared}
    return [Beginning(shared, seed) for shared, some in seeds.items() for seed in some]


def means(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each column over beginnings."""
    return {name: float(np.mean([one[name] for one in told])) for name in told[0]}


def main() -> None:
    """Tune what is missing, and print the table."""
    options = parse_options()
    torch.set_num_threads(1)
    labels = Labels(options)
    lengths = [length for length in LENGTHS if length <= options.steps]
    told: dict[int, list[list[dict[str, float]]]] = {shared: [] for shared in options.shared}
    for one in beginnings(options):
        losses = labels.losses(one)
        told[one.shared].append([labels.told(losses, steps) for steps in lengths])
    curves = {
        shared: [means(some) for some in zip(*seeds, strict=True)] for shared, seeds in told.items()
    }
    print_head(labels.rows)
    table = new_table("shared", "seeds", "steps", *curves[options.shared[0]][0], left=[])
    for shared, rows in curves.items():
        for steps, row in zip(lengths, rows, strict=True):
            cells = [f"{value:.2f}" for value in row.values()]
            table.add_row(str(shared), str(len(told[shared])), str(steps), *cells)
    print_table(table)
    if options.plot:
        save_figure(draw_labels(lengths, curves, ("own", "on 48", CHOSEN)), options.plot)


if __name__ == "__main__":
    run_command(main, trains=True)
