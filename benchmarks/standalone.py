"""How long must a network be trained alone until its rank no longer depends on that?

``python -m benchmarks.standalone -c configs/clutter/retrain.yaml`` trains the same networks for
several lengths, each twice the one before, with two seeds, and prints for each length what doubling
it changes. A length passes when doubling it gains less than 0.5 points on average, tau(T, 2T) is at
least .85, the median accuracy lies between 50 and 90 %, networks spread over at least 10 points
(5th to 95th percentile) and two seeds agree at tau .7 overall and .5 within bands of cost. It can
be stopped and run again: finished trainings are in the cache, which search.rank shares.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.record import machine, record
from search.evaluation.jobs import other_commits
from search.evaluation.trainings import Trainings, jobs_of, plain_data, read_space_for
from search.objective.costs import cost_model
from search.rank.networks import uniform_group
from search.rank.report import training_costs
from search.rank.statistics import Yardstick, kendall
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.training.config import read_training

GAIN, LENGTHS_AGREE, MEDIAN, SPREAD, SEEDS_AGREE, WITHIN = 0.005, 0.85, (0.5, 0.9), 0.1, 0.7, 0.5


class Length(NamedTuple):
    """What was found of one length; the first three need the doubled one, else they are NaN."""

    gain: float
    """Mean accuracy gained by doubling it."""
    tau_doubled: float
    """Between mean accuracies at this length and at twice of it."""
    tau_most: float
    """What that would be if the true ranks were the same: seeds differ at both lengths."""
    median: float
    spread: float
    """From the 5th to the 95th percentile."""
    tau_seeds: float
    tau_within: float
    """The same within bands of cost, mean over the bands."""

    @property
    def passes(self) -> bool:
        """Whether networks may be ranked by trainings of this length."""
        return (
            self.gain < GAIN
            and self.tau_doubled >= LENGTHS_AGREE
            and MEDIAN[0] <= self.median <= MEDIAN[1]
            and self.spread >= SPREAD
            and self.tau_seeds >= SEEDS_AGREE
            and self.tau_within >= WITHIN
        )


def judge(runs: np.ndarray, doubled: np.ndarray | None, bands: np.ndarray) -> Length:
    """Judge a length by accuracies (N, S) at it and at twice of it."""
    yardstick = Yardstick(runs, bands, np.ones(len(runs)), resamples=1)
    gain = tau = most = float("nan")
    if doubled is not None:
        gain = float((doubled.mean(1) - runs.mean(1)).mean())
        tau = float(kendall(runs.mean(1), doubled.mean(1), yardstick.whole)[0])
        most = most_alike(yardstick, Yardstick(doubled, bands, np.ones(len(runs)), resamples=1))
    low, middle, high = np.quantile(yardstick.truth, [0.05, 0.5, 0.95])
    seeds, within = (
        float(statistic(yardstick.truth, yardstick.whole)[0])
        for statistic in (yardstick.ceiling, yardstick.within_bands(yardstick.ceiling))
    )
    return Length(gain, tau, most, float(middle), float(high - low), seeds, within)


def most_alike(one: Yardstick, other: Yardstick) -> float:
    """Tau of two yardsticks' means over seeds if the true accuracies were the same, and normal."""
    reliabilities = [each.reliability_of_mean(each.runs.shape[1]) for each in (one, other)]
    return 2 / math.pi * math.asin(math.sqrt(math.prod(reliabilities)))


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", type=Path, default=Path("configs/clutter/retrain.yaml"))
    parser.add_argument("--space", type=Path, default=Path("configs/spaces/clutter.yaml"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[200, 400, 800])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--bands", type=int, default=3, help="of cost")
    parser.add_argument("--table", metavar="JSON", help="bands of its latency, instead of MACs")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn networks")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/standalone.jsonl"))
    return parser.parse_args()


def main() -> None:
    """Train what is missing, and print the table as each length is done."""
    options = parse_options()
    torch.set_num_threads(1)
    training = read_training(options.config)
    space = read_space_for(options.space, training.make_data())
    unit = "ms" if options.table else "macs"
    model = cost_model(unit, space, options.table, options.cache.parent)
    group = uniform_group(space, model, options.networks, options.bands, options.seed)
    networks, bands = group.networks, np.array([one.band for one in group.networks])
    trainings = Trainings(training, options.cache, options.processes)
    runs: dict[int, np.ndarray] = {}
    print(f"# {machine()}")
    for steps in sorted(options.lengths):
        rows = trainings.rows(jobs_of([one.spec for one in networks], range(2), steps))
        runs[steps] = np.array([row["test"] for row in rows]).reshape(2, len(networks)).T
        for line in filter(None, [f"{steps} steps, {training_costs(rows)}", other_commits(rows)]):
            print(f"# {line}", flush=True)
    report(runs, bands, {"data": plain_data(training), "seed": options.seed})


def report(runs: dict[int, np.ndarray], bands: np.ndarray, config: dict) -> None:
    """Print and record what was found of each length."""
    found = {steps: judge(runs[steps], runs.get(2 * steps), bands) for steps in runs}
    head = ["steps", "gain", "tau(T, 2T)", "at most", "median", "spread", "two seeds", "in bands"]
    table = new_table(*head, "", left=[])
    for steps, length in found.items():
        values = [f"{value:.3f}" for value in length]
        table.add_row(str(steps), *values, "passes" if length.passes else "")
    print_table(table)
    for steps, length in found.items():
        # JSON has no NaN, which stands for what the doubled length has not shown yet.
        known = {name: None if np.isnan(v) else v for name, v in length._asdict().items()}
        record("standalone", {**config, "steps": steps}, 0, known)
    shortest: Sequence[int] = [steps for steps, length in found.items() if length.passes][:1]
    print(f"the shortest length that passes: {shortest[0] if shortest else 'none of these'}")


if __name__ == "__main__":
    run_command(main, trains=True)
