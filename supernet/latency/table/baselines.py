"""What a latency table must beat: models that are fitted to the same networks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from supernet.cost.counts import count
from supernet.cost.timed_layers import timed_layers
from supernet.latency.table.correction import Times, relative_ridge
from supernet.space.spec import NetSpec

ONE_HOT_PENALTY, LINE_PENALTY = 1e-3, 1e-15
"""Ridge penalties per network; one-hot has about as many weights as there are networks."""


def baselines(
    entries: Mapping[str, Times],
    specs: Sequence[NetSpec],
    ms: NDArray[np.float64],
    judged: Sequence[NetSpec],
) -> dict[str, NDArray[np.float64]]:
    """Latencies (networks,) of ``judged`` that other models predict, in ms, by the model's name.

    * ``isolated sum``: the plain sum of all layers' times alone, which are ``entries``.
    * ``macs``: a line through the multiply-accumulates.
    * ``linear one-hot``: a weight for each value of each decision (TuNAS, Bender et al. 2020).

    They are fitted to ``specs``, whose latencies are ``ms`` (networks,).
    """
    from sklearn.feature_extraction import DictVectorizer  # takes seconds to load

    encoder = DictVectorizer(sparse=False).fit(map(_choices, specs))

    def macs(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        return np.array([[1.0, count(spec).macs] for spec in many])

    def one_hot(many: Sequence[NetSpec]) -> NDArray[np.float64]:
        return encoder.transform(map(_choices, many))

    def linear(features: Callable[..., NDArray[np.float64]], penalty: float) -> NDArray[np.float64]:
        design = features(specs) / ms[:, None]
        return features(judged) @ relative_ridge(design, penalty * np.abs(design).max(0) ** 2)

    alone = [sum(entries[layer.key].later for layer in timed_layers(spec)) for spec in judged]
    return {
        "isolated sum": np.array(alone),
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
