"""What a latency table must beat: models that are fitted to the same networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from supernet.cost.counts import count
from supernet.cost.parts import parts
from supernet.latency.table.correction import Times
from supernet.space.spec import NetSpec

Model = Callable[[Sequence[NetSpec]], NDArray[np.float64]]
"""Predicts the latencies (networks,) of networks, in ms."""
_Rows = Callable[[NetSpec], list[float]]
PENALTY = 1e-3
"""Of the linear one-hot model, per network: it has about as many weights as there are networks."""


def baselines(
    entries: Mapping[str, Times], specs: Sequence[NetSpec], ms: NDArray[np.float64]
) -> dict[str, Model]:
    """The other models, by name.

    * ``isolated sum``: the plain sum of all parts' times alone.
    * ``macs``: a line through the multiply-accumulates.
    * ``linear one-hot``: a weight for each value of each decision (TuNAS, Bender et al. 2020).

    Args:
        entries: times of parts alone.
        specs: networks to fit to.
        ms: their latencies (networks,).
    """

    def isolated(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        return np.array([sum(entries[part.key].later for part in parts(one)) for one in many])

    return {
        "isolated sum": isolated,
        "macs": _linear(lambda spec: [1.0, count(spec).macs], 0.0, specs, ms),
        "linear one-hot": _linear(_one_hot(specs), PENALTY, specs, ms),
    }


def _linear(
    rows: _Rows, penalty: float, specs: Sequence[NetSpec], ms: NDArray[np.float64]
) -> Model:
    """Least squares of the relative error."""
    design = np.array([rows(spec) for spec in specs]) / ms[:, None]
    scale = np.maximum(np.abs(design).max(0), 1e-300)
    unit = design / scale
    square = unit.T @ unit + penalty * len(specs) * np.eye(unit.shape[1])
    weights = np.linalg.lstsq(square, unit.sum(0), rcond=None)[0] / scale
    return lambda many: np.array([rows(spec) for spec in many]) @ weights


def _one_hot(specs: Sequence[NetSpec]) -> _Rows:
    """For a network a 1 for each property of its stages that one of ``specs`` has."""
    known = sorted({pair for spec in specs for pair in _properties(spec)}, key=str)

    def row(spec: NetSpec) -> list[float]:
        found = set(_properties(spec))
        return [1.0, *(float(pair in found) for pair in known)]

    return row


def _properties(spec: NetSpec) -> list[tuple[int, str, object]]:
    return [
        (number, name, value)
        for number, stage in enumerate(spec.stages)
        for name, value in dataclasses.asdict(stage).items()
    ]
