"""Means of a few measurements, with intervals by Student's t, and what is computed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from search.tables import Estimate


@dataclass(frozen=True)
class Mean:
    """A mean, or a combination of independent means."""

    value: float
    variance: float
    """Of the mean; NaN where a single value tells nothing of it."""
    freedom: float
    """Degrees of freedom of the variance."""

    @staticmethod
    def of(values: Sequence[float]) -> Mean:
        """The mean of independent measurements of one thing."""
        number = len(values)
        variance = float(np.var(values, ddof=1)) / number if number > 1 else math.nan
        return Mean(float(np.mean(values)), variance, number - 1)

    @staticmethod
    def combined(means: Sequence[Mean], weights: Sequence[float]) -> Mean:
        """A weighted sum of independent means (Satterthwaite 1946, Welch 1947)."""
        value = sum(weight * mean.value for weight, mean in zip(weights, means, strict=True))
        parts = [w**2 * mean.variance for w, mean in zip(weights, means, strict=True)]
        variance = sum(parts)
        shares = sum(
            part**2 / max(mean.freedom, 1) for part, mean in zip(parts, means, strict=True)
        )
        return Mean(value, variance, variance**2 / shares if shares else math.inf)

    @staticmethod
    def average(means: Sequence[Mean]) -> Mean:
        """The average of the means of several groups, of these groups and no others."""
        return Mean.combined(means, [1 / len(means)] * len(means))

    def __sub__(self, other: Mean) -> Mean:
        return Mean.combined([self, other], [1, -1])

    def estimate(self, scale: float = 1.0) -> Estimate:
        """The value and its 95 % interval, times ``scale``; NaN limits where it has none."""
        if math.isnan(self.variance):
            return Estimate(scale * self.value, math.nan, math.nan)
        half = stats.t.ppf(0.975, self.freedom) * math.sqrt(self.variance)
        return Estimate(*(scale * x for x in (self.value, self.value - half, self.value + half)))
