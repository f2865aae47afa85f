"""Correction: from the times of a network's layers alone to their shares of its latency. No torch.

A layer that runs alone converts the layout of its input and output and pays a call, which a network
pays once; and its weights lie in a cache where a network's may not. What remains differs between
kinds of layers: a pool shortcut or a squeeze-and-excitation breaks up what a runtime would keep in
its own layout. So a layer's share is a weighted sum of a few ``terms``, the weights are fitted to
whole networks by least squares of the relative error, and which terms are worth having is decided
by cross-validation on those networks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernet.cost.timed_layers import StageLayer, TimedLayer, timed_layers
from supernet.errors import check_choice, check_range
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer

MIN_SHARE = 0.05
"""A share is at least this much of the time alone: no layer is free."""


class Times(NamedTuple):
    """Times of a subject in the two runs of a visit."""

    first: float
    """Milliseconds with other networks' data in the caches."""
    later: float
    """Milliseconds straight after a run of the same."""


def terms(layer: TimedLayer, times: Times) -> dict[str, float]:
    """What a layer's share may be made of, by name."""
    found = {"first": times.first, "later": times.later, "part": 1.0}
    if isinstance(layer, StageLayer):
        found[f"later at {layer.size} px"] = times.later
        inner = layer.layer
        inputs, outputs = inner.inputs * inner.size**2, inner.outputs * inner.output_size**2
        for kind in _kinds(inner):
            found[f"part {kind}"] = 1.0
            found[f"inputs {kind}"] = inputs * 1e-6
            found[f"outputs {kind}"] = outputs * 1e-6
    return found


def _kinds(layer: Layer) -> list[str]:
    op = f"mbconv{layer.expand}" if layer.op == "mbconv" else layer.op
    kinds = [f"of {op}", f"of kernel {layer.kernel}"]
    if layer.se:
        kinds.append("with se")
    if layer.skip != "none":
        kinds.append(f"with {layer.skip}")
    if layer.skip == "pool" and layer.inputs != layer.outputs:
        kinds.append("with pool of another width")
    if layer.stride > 1:
        kinds.append("that strides")
    return kinds


def is_simple(name: str) -> bool:
    """Whether a term is one of the three that every layer has."""
    return name in ("first", "later", "part")


FORMS: dict[str, Callable[[str], bool]] = {
    "scale": lambda name: name == "later",
    "affine": is_simple,
    "kinds": lambda name: is_simple(name) or name.startswith("part"),
    "sizes": lambda name: is_simple(name) or name.startswith("later"),
    "kinds and sizes": lambda name: is_simple(name) or name.startswith(("part", "later")),
    "kinds, sizes and elements": lambda name: True,
}
"""The terms of each form, the simplest first. Kinds: a constant for each kind of layer. Sizes: a
factor of its own for each side of the feature map. Elements: millions of numbers that go into and
come out of layers of a kind, each of which a change of layout copies."""


@dataclass(frozen=True)
class Correction:
    """Weights of a form's terms."""

    form: str
    """A name in ``FORMS``."""
    strength: float
    """Strength of the ridge penalty."""
    weights: Mapping[str, float]
    """Weights by term; those it lacks weigh nothing."""
    errors: Mapping[str, float]
    """Mean absolute relative error of each form in cross-validation."""

    def __post_init__(self) -> None:
        """Refuse a form that there is not; UserError names it."""
        check_choice("correction.form", self.form, FORMS)
        check_range("correction.", self, "strength", least=0)
        for form in self.errors:
            check_choice("correction.errors", form, FORMS)

    def share(self, layer: TimedLayer, times: Times) -> float:
        """Share in ms of a layer that takes these times alone."""
        weighted = sum(
            self.weights.get(name, 0.0) * value for name, value in terms(layer, times).items()
        )
        return max(MIN_SHARE * times.later, weighted)


STRENGTHS = (1e-1, 1e-2, 1e-3)
"""Strengths of the penalty on all but the simple terms, for terms of unit mean square."""
SIMPLE_STRENGTH = 1e-9
"""Strength for the simple terms: just enough that two which are proportional have a solution."""
FOLDS = 5
SHUFFLES = 6
"""Ways to form the folds; with one alone, chance often chooses."""


class LayerSums:
    """The layers of some networks as arrays, from which corrections are fitted."""

    def __init__(self, entries: Mapping[str, Times], specs: Sequence[NetSpec]) -> None:
        networks = [Counter(timed_layers(spec)) for spec in specs]
        used = list(dict.fromkeys(layer for network in networks for layer in network))
        found = [terms(layer, entries[layer.key]) for layer in used]
        self.names = sorted({name for one in found for name in one})
        self.terms = np.array([[one.get(name, 0.0) for name in self.names] for one in found])
        self.least = MIN_SHARE * np.array([entries[layer.key].later for layer in used])
        self.counts = np.array([[network[layer] for layer in used] for network in networks], float)

    def fit(
        self, ms: NDArray[np.float64], rows: NDArray[np.intp], form: str, strength: float
    ) -> dict[str, float]:
        """Weights of a form's terms, from the networks ``rows`` that took ``ms``."""
        columns = [place for place, name in enumerate(self.names) if FORMS[form](name)]
        names = [self.names[place] for place in columns]
        design = (self.counts[rows] @ self.terms[:, columns]) / ms[rows, None]
        square = (design**2).mean(0)
        penalties = np.where([is_simple(name) for name in names], SIMPLE_STRENGTH, strength)
        weights = relative_ridge(design, penalties * np.where(square == 0, 1.0, square))
        return dict(zip(names, weights.tolist(), strict=True))

    def predict(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Latency of every network, in ms."""
        shares = self.terms @ np.array([weights.get(name, 0.0) for name in self.names])
        return self.counts @ np.maximum(self.least, shares)

    def error(self, ms: NDArray[np.float64], form: str, strength: float) -> float:
        """Mean absolute relative error of a form, each network predicted by others."""
        from sklearn.model_selection import RepeatedKFold

        splits = RepeatedKFold(n_splits=min(FOLDS, len(ms)), n_repeats=SHUFFLES, random_state=0)
        errors = []
        for known, left_out in splits.split(ms):
            predicted = self.predict(self.fit(ms, known, form, strength))
            errors.append(np.abs(predicted / ms - 1)[left_out])
        return float(np.concatenate(errors).mean())


def relative_ridge(
    design: NDArray[np.float64], penalties: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (terms,) whose sums of relative terms (networks, terms) are nearest to 1.

    ``penalties`` (terms,) are those of the weights' squares, for each network.
    """
    from sklearn.linear_model import Ridge  # takes seconds to load; a search only reads tables

    # Ridge knows one penalty for all columns: they are scaled instead.
    root = np.sqrt(penalties)
    ridge = Ridge(alpha=len(design), fit_intercept=False, solver="svd")
    return ridge.fit(design / root, np.ones(len(design))).coef_ / root


def fit_correction(sums: LayerSums, ms: NDArray[np.float64]) -> Correction:
    """The correction that errs least in cross-validation on networks of ``ms`` (networks,)."""
    tried = {
        (form, strength): sums.error(ms, form, strength)
        for form in FORMS
        for strength in (STRENGTHS if form not in ("scale", "affine") else STRENGTHS[:1])
    }
    form, strength = min(tried, key=lambda key: tried[key])
    weights = sums.fit(ms, np.arange(len(ms)), form, strength)
    errors = {
        name: min(error for (tried_form, _), error in tried.items() if tried_form == name)
        for name in FORMS
    }
    return Correction(form, strength, weights, errors)
