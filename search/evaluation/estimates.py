"""Means of a few measurements, with intervals by Student's t, and what is computed of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats


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


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
Cell = Estimate | str


@dataclass(frozen=True)
class Report:
    """Tables of estimates."""

    facts: list[str]
    """Lines above the tables."""
    tables: Mapping[str, Mapping[str, Mapping[str, Cell]]]
    """By title, then by row, then by column."""

    def lines(self) -> list[str]:
        """For a terminal or a log."""
        lines = list(self.facts)
        for title, rows in self.tables.items():
            columns = max(map(list, rows.values()), key=len)
            cells = [
                [name, *(cell(row.get(column, UNKNOWN)) for column in columns)]
                for name, row in rows.items()
            ]
            lines += ["", *aligned([[title, *columns], *cells])]
        return lines

    def plain(self) -> dict[str, Any]:
        """For JSON, in which unknown and infinite values are null."""
        return {"facts": self.facts, "tables": _plain(self.tables)}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, str):
        return value
    return value if math.isfinite(value) else None


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    ]


def cell(content: Cell) -> str:
    """Words as they are; a value with its interval, if it has one, as in ``.62 [.48 .74]``."""
    if isinstance(content, str):
        return content
    estimate = content
    if math.isnan(estimate.value):
        return "-"
    if estimate.low == estimate.high == estimate.value or math.isnan(estimate.low):
        return _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)} {_number(estimate.high)}]"


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
