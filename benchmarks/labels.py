"""How well short tunings rank networks, and what a regression on them says of networks unseen.

``python -m benchmarks.labels --supernet RUN/checkpoints/last.ckpt`` tunes the 60 + 60 networks of
the development and of the final set for ``--steps`` from a supernet (without one afresh), as a
search does, and keeps the loss of each step. A table tells for several lengths, with the mean loss
over their second half: Kendall's tau of a network's own loss with its accuracy trained alone, over
all networks and within bands of cost; that of the surrogate's regression, fitted to N networks of
one set, on the other set, the mean of both ways; and that of what finalists are chosen by, once all
networks of a set have been learned from. It can be stopped and run again.
"""

from __future__ import annotations

import argparse
import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import RESULTS, print_head
from search.evaluation.frozen_supernet import FrozenSupernet, channels_last, tune
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
from supernet.network.network import Network
from supernet.training.config import read_training

SETS, BANDS, NUM, REPEATS = (0, 1), 3, 60, 20
LENGTHS, SIZES = (5, 10, 15, 20, 30, 40), (16, 24, 32, 48, 60)


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("-c", "--config", type=Path, default=Path("configs/clutter/retrain.yaml"))
    add("--space", type=Path, default=Path("configs/spaces/clutter.yaml"))
    add("--table", type=Path, default=RESULTS / "clutter-latency.json")
    add("--supernet", type=Path, metavar="CKPT", help="of a search; without one, fresh networks")
    add("--steps", type=int, default=max(LENGTHS), help="of each tuning")
    add("--truth-steps", type=int, help="of the trainings alone, instead of the config's")
    add("--seeds", type=int, default=3, help="of the trainings alone")
    add("--cache", type=Path, default=RESULTS / "clutter-trainings.jsonl", help="of those")
    add("--labels", type=Path, default=RESULTS / "clutter-labels.jsonl", help="of the tunings")
    return parser.parse_args()


class Labels:
    """The networks of both sets with their true accuracies, and what tunings show of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.training = options, read_training(options.config)
        self.runner = TrainingRunner(self.training)
        self.space = read_space_for(options.space, self.runner.data)
        model = cost_model("ms", self.space, options.table, "runs/tables")
        groups = [uniform_group(self.space, model, NUM, BANDS, seed).networks for seed in SETS]
        self.networks: list[BandNetwork] = [one for group in groups for one in group]
        self.supernet = options.supernet and FrozenSupernet(options.supernet, self.runner, 1)

    def yardsticks(self) -> list[Yardstick]:
        """True accuracies of both sets."""
        steps = self.options.truth_steps or self.training.max_steps
        trainings = Trainings(self.training, self.options.cache, 1)
        seeds, found = range(self.options.seeds), []
        for place in range(len(SETS)):
            group = self.networks[place * NUM : (place + 1) * NUM]
            rows = trainings.rows([Job(one.spec, seed, steps) for one in group for seed in seeds])
            runs = np.array([row["test"] for row in rows]).reshape(NUM, len(seeds))
            bands = np.array([one.band for one in group])
            found.append(Yardstick(runs, bands, np.ones(NUM), resamples=1))
        return found

    def losses(self) -> np.ndarray:
        """Loss of each step of each network's tuning, (120, S)."""
        weights = "fresh"
        if self.supernet:
            digest = hashlib.sha256(self.options.supernet.read_bytes())
            weights = digest.hexdigest()[:16]
        seed = self.supernet.seed if self.supernet else 0
        data = RunData(self.runner.data, "search", seed)
        steps, optimizer = self.options.steps, WeightOptimizer()
        batches = [channels_last(one) for one in islice(data.endless_weights_batches(), steps)]

        def identity(one: BandNetwork) -> Row:
            return {"weights": weights, "network": network_hash(one.spec), "steps": steps}

        def label(one: BandNetwork, _: object) -> Row:
            network = self._network(one).to(memory_format=torch.channels_last)
            course = tune(network, batches, optimizer, steps, decays=False)
            rounded = [round(loss, 4) for loss in course.losses.tolist()]
            return {**identity(one), "commit": commit(), "losses": rounded}

        keys = ("weights", "network", "steps")
        jobs = CachedJobs("tunings", self.options.labels, keys, identity, lambda: label)
        self.rows = jobs.rows(self.networks)
        return np.array([row["losses"] for row in self.rows])

    def _network(self, one: BandNetwork) -> Network:
        if self.supernet:
            return self.supernet.supernet.extract(one.arch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Network(one.spec)

    def inputs(self) -> np.ndarray:
        """Counts of the networks, in standard deviations, (120, F)."""
        codes = torch.tensor([self.space.encode(one.arch) for one in self.networks])
        return Surrogate(self.space).inputs(codes)


def taus(scores: np.ndarray, yardsticks: list[Yardstick]) -> list[float]:
    """Kendall's tau of scores (120,) over all networks and within bands, the mean of both sets."""
    found = []
    for place, yardstick in enumerate(yardsticks):
        own = scores[place * NUM : (place + 1) * NUM]
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


def main() -> None:
    """Tune what is missing, and print the table."""
    options = parse_options()
    torch.set_num_threads(1)
    labels = Labels(options)
    yardsticks, losses, inputs = labels.yardsticks(), labels.losses(), labels.inputs()
    print_head(labels.rows)
    sizes = [f"on {num}" for num in SIZES]
    table = new_table("steps", "own", "in bands", *sizes, "chosen by", "in bands", left=[])
    for steps in (length for length in LENGTHS if length <= options.steps):
        quality = -losses[:, steps // 2 : steps].mean(axis=1)
        predicted = [unseen(inputs, quality, num) for num in SIZES]
        on_others = [
            float(np.mean([taus(row, yardsticks)[0] for row in rows])) for rows in predicted
        ]
        chosen_by = taus(selecting(inputs, quality), yardsticks)
        values = [*taus(quality, yardsticks), *on_others, *chosen_by]
        table.add_row(str(steps), *(f"{value:.2f}" for value in values))
    print_table(table)


if __name__ == "__main__":
    run_command(main, trains=True)
