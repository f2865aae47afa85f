"""Predictors that are fitted to a few trainings, judged by how they rank all other networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau
from sklearn.ensemble import GradientBoostingRegressor

from search.evaluation.estimates import Cell, TextTable
from search.evaluation.jobs import CachedJobs, Row, commit, identified
from search.surrogate.regression import fit_ridge
from search.truth.counts import LEAST_JUDGED, MOST_JUDGED, SETS, inputs_of
from search.truth.tables import TrainedNetworks
from supernet.space.spec import NetSpec

SIZES = (10, 20, 50, 100, 200)
"""Networks of one label each that a predictor is fitted to."""
FIFTHS = 5
"""Bands of MACs, of as many networks each, within which a predictor is judged too."""
CEILING = "another training"
"""What is told in the place of a predictor: one training, against the mean of the others."""
Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Predictions (N,) of all networks by the numbers (K,) of some and their labels (K,)."""


def _ridge(inputs: np.ndarray) -> Fit:
    return lambda chosen, labels: fit_ridge(inputs[chosen], labels).predict(inputs)


def _boosting(inputs: np.ndarray) -> Fit:
    def fit(chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
        model = GradientBoostingRegressor(
            n_estimators=150, learning_rate=0.05, subsample=0.8, random_state=0
        )
        return model.fit(inputs[chosen], labels).predict(inputs)

    return fit


def one_hot(networks: TrainedNetworks) -> np.ndarray:
    """Values of the decisions (N, F), each 0 or 1; those of each stage where there are no codes."""
    if networks.codes is None:
        return inputs_of(networks.specs, _choices)
    columns = zip(networks.codes.T, networks.sizes, strict=True)
    return np.concatenate([np.eye(size)[codes] for codes, size in columns if size > 1], axis=1)


def _choices(spec: NetSpec) -> dict[str, float]:
    stages = enumerate(spec.stages, 1)
    return {f"{n} {name} {value}": 1.0 for n, one in stages for name, value in vars(one).items()}


class Predictor(NamedTuple):
    """A way to rank networks."""

    make: Callable[[TrainedNetworks], Fit]
    repeats: int = 50
    """Draws of the networks that it is fitted to."""


PREDICTORS = {
    "ridge on counts": Predictor(lambda some: _ridge(inputs_of(some.specs, SETS["today's"]))),
    "ridge on counts, log parameters of the whole": Predictor(
        lambda some: _ridge(inputs_of(some.specs, SETS["log parameters"]))
    ),
    "ridge on one-hot choices": Predictor(lambda some: _ridge(one_hot(some))),
    "boosting on one-hot choices": Predictor(lambda some: _boosting(one_hot(some)), 10),
    "MACs": Predictor(lambda some: lambda *_: some.cost("macs")),
    "parameters": Predictor(lambda some: lambda *_: some.cost("params")),
}
"""Predictors by name: the first is the one that a search learns with."""


class Ranked(NamedTuple):
    """Kendall's tau, among all networks and the mean within fifths by MACs."""

    overall: float
    in_fifths: float

    @staticmethod
    def of(predicted: np.ndarray, truth: np.ndarray, macs: np.ndarray) -> Ranked:
        """Of predictions, truths and MACs (M,); a constant prediction has a tau of 0."""
        parts = np.array_split(np.argsort(macs, kind="stable"), FIFTHS)
        within = [kendalltau(predicted[part], truth[part]).statistic for part in parts]
        overall = kendalltau(predicted, truth).statistic
        return Ranked(*np.nan_to_num([overall, np.mean(np.nan_to_num(within))]).tolist())


def judged(networks: TrainedNetworks, predictor: Predictor, size: int) -> list[Ranked]:
    """What each draw of ``size`` labels came to, on networks that it did not have."""
    rng, truth, macs = np.random.default_rng(0), networks.accuracies.mean(1), networks.cost("macs")
    fit, found = predictor.make(networks), []
    for _ in range(predictor.repeats):
        order = rng.permutation(len(truth))
        chosen, others = order[:size], order[size : size + MOST_JUDGED]
        seeds = rng.integers(networks.accuracies.shape[1], size=size)
        predicted = fit(chosen, networks.accuracies[chosen, seeds])
        found.append(Ranked.of(predicted[others], truth[others], macs[others]))
    return found


def ceiling(networks: TrainedNetworks) -> list[Ranked]:
    """How one training ranks, against the mean of the other seeds, for each seed."""
    runs, macs = networks.accuracies, networks.cost("macs")
    others = [np.delete(runs, seed, axis=1).mean(axis=1) for seed in range(runs.shape[1])]
    return [Ranked.of(*pair, macs) for pair in zip(runs.T, others, strict=True)]


class PredictorJob(NamedTuple):
    """A predictor with some labels of a table."""

    networks: str
    predictor: str
    labels: int

    def identity(self) -> Row:
        """What identifies it."""
        return identified(self._asdict())


class PredictorRunner:
    """Fits predictors in this process."""

    def __init__(self, tables: Sequence[TrainedNetworks]) -> None:
        """Take note of the tables."""
        self.tables = {one.name: one for one in tables}

    def __call__(self, job: PredictorJob) -> Row:
        """Judge a predictor; the row that the cache keeps of it."""
        networks = self.tables[job.networks]
        if job.predictor == CEILING:
            networks = networks.repeated or networks
            found = ceiling(networks)
        else:
            found = judged(networks, PREDICTORS[job.predictor], job.labels)
        overall, within = np.array(found).T
        return {
            **job.identity(),
            "commit": commit(),
            "num_networks": len(networks.specs),
            "tau": float(overall.mean()),
            "tau_sd": float(overall.std(ddof=1)),
            "tau_in_fifths": float(within.mean()),
            "tau_in_fifths_sd": float(within.std(ddof=1)),
            "repeats": len(found),
        }


def jobs_of(tables: Sequence[TrainedNetworks]) -> Iterator[PredictorJob]:
    """All predictors at all sizes that leave enough to judge by, and the ceiling of each table."""
    for networks in tables:
        for size in SIZES:
            if len(networks.specs) >= size + LEAST_JUDGED:
                yield from (PredictorJob(networks.name, name, size) for name in PREDICTORS)
        if networks.seeds.shape[1] > 1:
            yield PredictorJob(networks.name, CEILING, 0)


def predictor_tables(tables: Sequence[TrainedNetworks], path: Path) -> Mapping[str, TextTable]:
    """Taus of all predictors on all tables whose networks are known, kept in ``path``."""
    known = [one for one in tables if one.specs]
    jobs: CachedJobs[PredictorJob] = CachedJobs(
        *("predictors", path, ("config", "seed"), PredictorJob.identity),
        partial(map, PredictorRunner(known)),
        status=lambda row: f"{row['predictor']}, {row['labels']} labels: {row['tau']:.2f}",
    )
    found: dict[str, dict[str, dict[str, Cell]]] = {}
    for row in jobs.rows(jobs_of(known)):
        for column, words in (("tau", "tau"), ("tau_in_fifths", "tau within fifths of MACs")):
            table = found.setdefault(f"{row['networks']}, {words}", {})
            sizes = [row["labels"]] if row["labels"] else SIZES
            table.setdefault(row["predictor"], {}).update(
                {f"{size} labels": f"{row[column]:.2f}" for size in sizes}
            )
    return found
