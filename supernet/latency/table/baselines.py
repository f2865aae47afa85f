"""What a latency table must beat: models that are fitted to the same networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from supernet.cost.counts import count
from supernet.cost.timed_layers import timed_layers
from supernet.latency.table.correction import Times, relative_ridge
from supernet.space.spec import NetSpec

Model = Callable[[Sequence[NetSpec]], NDArray[np.float64]]
"""Predicts the latencies (networks,) of networks, in ms."""
ONE_HOT_PENALTY, LINE_PENALTY = 1e-3, 1e-15
"""Ridge penalties per network; one-hot has about as many weights as there are networks."""


def baselines(
    entries: Mapping[str, Times], specs: Sequence[NetSpec], ms: NDArray[np.float64]
) -> dict[str, Model]:
    """The other models, by name.

    * ``isolated sum``: the plain sum of all layers' times alone.
    * ``macs``: a line through the multiply-accumulates.
    * ``linear one-hot``: a weight for each value of each decision (TuNAS, Bender et al. 2020).

    Args:
        entries: times of layers alone.
        specs: networks to fit to.
        ms: their latencies (networks,).
    """
    from sklearn.feature_extraction import DictVectorizer  # takes seconds to load

    encoder = DictVectorizer(sparse=False).fit(map(_choices, specs))

    def isolated(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        times = ([entries[layer.key].later for layer in timed_layers(spec)] for spec in many)
        return np.array([sum(later) for later in times])

    def macs(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        return np.array([[1.0, count(spec).macs] for spec in many])

    def one_hot(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        return encoder.transform(map(_choices, many))

    def linear(features: Model, penalty: float) -> Model:
        design = features(specs) / ms[:, None]
        weights = relative_ridge(design, penalty * np.abs(design).max(0) ** 2)
        return lambda many: features(many) @ weights

    return {
        "isolated sum": isolated,
        "macs": linear(macs, LINE_PENALTY),
        "linear one-hot": linear(one_hot, ONE_HOT_PENALTY),
    }


def _choices(spec: NetSpec) -> dict[str, str]:
    """The value of each field of each stage, beside a constant; strings are coded one-hot."""
    values = {
        f"{number} {name}": str(value)
        for number, stage in enumerate(spec.stages)
        for name, value in dataclasses.asdict(stage).items()
    }
    return {"constant": "", **values}
