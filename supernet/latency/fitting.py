"""Fitting a Correction to whole networks, and choosing its form by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from supernet.latency.correction import FORMS, LEAST, Correction, Times, is_simple, terms
from supernet.parts import Part

STRENGTHS = (1e-1, 1e-2, 1e-3)
"""Of the ridge penalty on all but the simple terms, for terms of unit mean square."""
FOLDS = 5
SHUFFLES = 6
"""Ways to form the folds; with one alone, chance often chooses."""


class Sums:
    """The parts of some networks as arrays, from which corrections are fitted.

    Args:
        entries: times of every part that occurs, by its key.
        networks: the parts of each network; alike ones as often as they occur.
    """

    def __init__(self, entries: Mapping[str, Times], networks: Sequence[Sequence[Part]]) -> None:
        used = list(dict.fromkeys(part for parts in networks for part in parts))
        places = {part: place for place, part in enumerate(used)}
        found = [terms(part, entries[part.key]) for part in used]
        self.names = sorted({name for one in found for name in one})
        self.terms = np.array([[one.get(name, 0.0) for name in self.names] for one in found])
        self.least = LEAST * np.array([entries[part.key].later for part in used])
        self.counts = np.zeros((len(networks), len(used)))
        for row, parts in zip(self.counts, networks, strict=True):
            for part in parts:
                row[places[part]] += 1

    def fit(
        self, ms: NDArray[np.float64], rows: NDArray[np.intp], form: str, strength: float
    ) -> dict[str, float]:
        """Weights of a form's terms, from the networks ``rows`` that took ``ms``."""
        columns = [place for place, name in enumerate(self.names) if FORMS[form](name)]
        design = (self.counts[rows] @ self.terms[:, columns]) / ms[rows, None]
        scale = np.sqrt((design**2).mean(0))
        scale[scale == 0] = 1.0
        unit = design / scale
        names = [self.names[place] for place in columns]
        free = np.array([is_simple(name) for name in names])
        penalty = np.diag(np.where(free, 1e-9, strength) * len(rows))
        weights = np.linalg.solve(unit.T @ unit + penalty, unit.sum(0)) / scale
        return dict(zip(names, weights.tolist(), strict=True))

    def predict(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Latency of every network, in ms."""
        shares = self.terms @ np.array([weights.get(name, 0.0) for name in self.names])
        return self.counts @ np.maximum(self.least, shares)

    def error(self, ms: NDArray[np.float64], form: str, strength: float) -> float:
        """Mean absolute relative error of a form, each network predicted by others."""
        rng, rows, errors = np.random.default_rng(0), np.arange(len(ms)), []
        for _ in range(SHUFFLES):
            folds = rng.permutation(len(ms)) % FOLDS
            for fold in range(min(FOLDS, len(ms))):
                left_out = folds == fold
                predicted = self.predict(self.fit(ms, rows[~left_out], form, strength))
                errors.append(np.abs(predicted / ms - 1)[left_out])
        return float(np.concatenate(errors).mean())


def choose(sums: Sums, ms: NDArray[np.float64]) -> Correction:
    """The correction whose form and strength err least in cross-validation.

    Args:
        sums: of the networks to calibrate with.
        ms: their measured latencies (networks,).
    """
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
