"""Counts of networks, compared by how well regressions on a few trainings rank the others."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau

from search.evaluation.estimates import Cell, TextTable
from search.evaluation.jobs import CachedJobs, Row, commit, identified
from search.evaluation.trainings import identity, jobs_of, read_space_for
from search.rank.networks import uniform_group
from search.surrogate.counts import LAST_WIDTH, PARAMETERS, SIZE, WIDTH, counts_of
from search.surrogate.regression import fit_ridge
from search.truth.tables import TrainedNetworks
from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.files.shipped import config_file
from supernet.latency.table.table import LatencyTable
from supernet.space.spec import NetSpec
from supernet.training.config import read_training

SIZES = (10, 20, 30, 45, 90)
"""Networks of one label each that a regression is fitted to."""
REPEATS, MOST_JUDGED = 100, 1000
"""Draws of these, and networks among the others that are ranked."""
BAND = (0.45, 0.55)
"""Quantiles of MACs between which networks cost about the same."""
LEAST_JUDGED = 15
CLUTTER = {"clutter, development": (0,), "clutter, final": (1,), "clutter, both": (0, 1)}
"""Seeds of the drawn networks, 60 each, by the name of the set."""
STEPS = 400
"""Of a clutter training."""
Counts = dict[str, float]


def _without(*names: str) -> Callable[[NetSpec], Counts]:
    def counts(spec: NetSpec) -> Counts:
        return {name: value for name, value in counts_of(spec).items() if name not in names}

    return counts


def _with_log_parameters(spec: NetSpec) -> Counts:
    counts = counts_of(spec)
    return {**counts, PARAMETERS: math.log(counts[PARAMETERS])}


def _means(spec: NetSpec) -> Counts:
    """Kernel and log width as means over layers, as regressions of ``search.rank`` had them."""
    layers = list(spec.layers())
    kept = {
        name: value
        for name, value in counts_of(spec).items()
        if not name.startswith("kernel ") and name not in (PARAMETERS, SIZE, WIDTH)
    }
    return {
        **kept,
        "mean kernel": float(np.mean([layer.kernel for layer in layers])),
        "mean log width": float(np.mean([math.log(layer.outputs) for layer in layers])),
    }


def _with_place(spec: NetSpec) -> Counts:
    """With the sum of the layers' block numbers, so that a late layer may count for more."""
    places = (number * len(layers) for number, layers in enumerate(spec.stage_layers(), 1))
    return {**counts_of(spec), "block number": float(sum(places))}


def _with_layer_widths(spec: NetSpec) -> Counts:
    """With the sum of log widths over layers beside that over blocks."""
    return {
        **counts_of(spec),
        "log width of a layer": sum(math.log(layer.outputs) for layer in spec.layers()),
    }


def _one_hot(spec: NetSpec) -> Counts:
    """One-hot choices of each block and the logarithm of the MACs: the straw man."""
    hot: Counter[str] = Counter()
    for number, stage in enumerate(spec.stages, 1):
        hot.update(f"{number} {name} {value}" for name, value in vars(stage).items())
    return {**hot, "log MACs": math.log(count(spec).macs)}


SETS: dict[str, Callable[[NetSpec], Counts]] = {
    "today's": counts_of,
    "without parameters": _without(PARAMETERS, SIZE),
    "parameters alone": _without(SIZE),
    "blocks' log parameters alone": _without(PARAMETERS),
    "log parameters": _with_log_parameters,
    "without widths": _without(WIDTH, LAST_WIDTH),
    "means": _means,
    "with place": _with_place,
    "with layers' widths": _with_layer_widths,
    "one-hot choices": _one_hot,
}
"""Counts of a network by the name of the set."""


def inputs_of(specs: Sequence[NetSpec], counts: Callable[[NetSpec], Counts]) -> np.ndarray:
    """Counts (N, F) in standard deviations among the networks; what never varies is left out."""
    rows = [counts(spec) for spec in specs]
    names = sorted({name for row in rows for name in row})
    values = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    varies = values.std(axis=0) > 1e-9
    return (values / np.where(varies, values.std(axis=0), 1.0))[:, varies]


def taus(inputs: np.ndarray, labels: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Tau (R,) with the mean label of networks that a ridge has not seen.

    Args:
        inputs: (N, F) of the networks.
        labels: (N, S), of which a fitted network shows one.
        size: how many are fitted.
        seed: of the draws.
    """
    rng, truth, found = np.random.default_rng(seed), labels.mean(axis=1), []
    for _ in range(REPEATS):
        order = rng.permutation(len(inputs))
        fitted, others = order[:size], order[size : size + MOST_JUDGED]
        single = labels[fitted, rng.integers(labels.shape[1], size=size)]
        predicted = fit_ridge(inputs[fitted], single).predict(inputs[others])
        found.append(kendalltau(predicted, truth[others]).statistic)
    return np.nan_to_num(np.array(found))


def within_band(networks: TrainedNetworks) -> TrainedNetworks:
    """Those of middle MACs."""
    macs = networks.cost("macs")
    low, high = np.quantile(macs, BAND)
    places = np.flatnonzero((macs >= low) & (macs <= high))
    return networks.select(places, f"{networks.name}, of one cost")


def of_our_layers(networks: TrainedNetworks) -> TrainedNetworks:
    """Those without a convolution that has an activation here and none in their table."""
    ours = [all(stage.op != "conv" for stage in spec.stages) for spec in networks.specs]
    return networks.select(np.flatnonzero(ours), networks.name)


def read_clutter(path: Path) -> list[TrainedNetworks]:
    """Networks of the project's own yardstick from its trainings in ``path``, beside its table.

    Raises:
        UserError: when some of them are missing.
    """
    training = read_training(config_file("clutter/retrain"))
    space = read_space_for(config_file("spaces/clutter"), training.make_data())
    table = LatencyTable.read(path.with_name("clutter-latency.json"))
    rows = map(json.loads, path.read_text().splitlines())
    known = {(row["config"], row["network"], row["seed"]): 100 * row["test"] for row in rows}
    found = []
    for name, drawn in CLUTTER.items():
        groups = [uniform_group(space, table, 60, 3, seed) for seed in drawn]
        specs = [one.spec for group in groups for one in group.networks]
        keys = [tuple(identity(training, job).values()) for job in jobs_of(specs, range(3), STEPS)]
        missing = sum(key not in known for key in keys)
        if missing:
            raise UserError(f"{path} lacks {missing} of {len(keys)} trainings of {name}")
        accuracies = np.array([known[key] for key in keys]).reshape(3, len(specs)).T
        found.append(TrainedNetworks(name, specs, accuracies))
    return found


class CountsJob(NamedTuple):
    """Regressions on a set of counts of some networks of a table."""

    networks: str
    counts: str
    labels: int

    def identity(self) -> Row:
        """What identifies it."""
        return identified(self._asdict())


def count_tables(tables: Sequence[TrainedNetworks], path: Path) -> Mapping[str, TextTable]:
    """Taus of all sets of counts on all tables whose networks are known, kept in ``path``."""
    ours = [of_our_layers(table) for table in tables if table.specs]
    everything = [
        one
        for table in ours
        for one in ((table,) if table.name in CLUTTER else (table, within_band(table)))
    ]
    by_name = {one.name: one for one in everything}
    wanted = [
        CountsJob(one.name, title, size)
        for one in everything
        for title in SETS
        for size in SIZES
        if len(one.specs) >= size + LEAST_JUDGED
    ]
    jobs: CachedJobs[CountsJob] = CachedJobs(
        *("counts", path, ("config", "seed"), CountsJob.identity),
        lambda jobs: (_judged(by_name[job.networks], job) for job in jobs),
    )
    found: dict[str, dict[str, dict[str, Cell]]] = {}
    for row in jobs.rows(wanted):
        table = found.setdefault(row["networks"], {})
        cells = table.setdefault(f"{row['counts']} ({row['num_counts']})", {})
        cells[f"{row['labels']} labels"] = f"{row['tau']:.2f}"
    return found


def _judged(networks: TrainedNetworks, job: CountsJob) -> Row:
    inputs = inputs_of(networks.specs, SETS[job.counts])
    found = taus(inputs, networks.accuracies, job.labels)
    return {
        **job.identity(),
        "commit": commit(),
        "num_networks": len(inputs),
        "num_counts": inputs.shape[1],
        "tau": float(found.mean()),
        "tau_sd": float(found.std(ddof=1)),
        "repeats": REPEATS,
    }
