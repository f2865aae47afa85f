"""Means of a few measurements with intervals by Student's t, and tables of such estimates."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from scipy import stats

from supernet.command.output import new_table, print_table, say
from supernet.display.rows import with_interval


@dataclass(frozen=True)
class Mean:
    """A mean, or a combination of independent means."""

    value: float
    variance: float
    """Variance of the mean; NaN where a single value tells nothing of it."""
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

    @property
    def estimate(self) -> Estimate:
        """The value and its 95 % interval; NaN limits where it has none."""
        if math.isnan(self.variance):
            return Estimate(self.value, math.nan, math.nan)
        half = stats.t.ppf(0.975, self.freedom) * math.sqrt(self.variance)
        return Estimate(self.value, self.value - half, self.value + half)


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> Estimate:
        return Estimate(factor * self.value, factor * self.low, factor * self.high)


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
Cell = Estimate | str
TextTable = Mapping[str, Mapping[str, Cell]]
"""Cells by row, then by column."""


@dataclass(frozen=True)
class Report:
    """Tables of estimates."""

    facts: list[str]
    """Lines above the tables."""
    tables: Mapping[str, TextTable]
    """Tables by their titles."""
    conclusion: str = ""
    """What it comes to, in one sentence below the tables."""

    def print(self) -> None:
        """Print facts, tables and conclusion for people."""
        for fact in self.facts:
            say(fact)
        for title, rows in self.tables.items():
            columns = max(map(list, rows.values()), key=len)
            table = new_table(title, *columns, left=[title])
            for name, row in rows.items():
                table.add_row(name, *(cell(row.get(column, UNKNOWN)) for column in columns))
            say("")
            print_table(table)
        if self.conclusion:
            say(f"\n{self.conclusion}")

    def plain(self, options: Namespace, **more: Any) -> dict[str, Any]:
        """The report of a command for JSON, in which unknown and infinite values are null."""
        given = {name: str(value) for name, value in vars(options).items()}
        told = {"facts": self.facts, "tables": _plain(self.tables), "conclusion": self.conclusion}
        return {"options": given, **told, **more}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value if isinstance(value, str) or math.isfinite(value) else None


def cell(content: Cell) -> str:
    """Text of a cell: words, or a value with its interval, if any, as in ``.62 [.48 .74]``."""
    if isinstance(content, str):
        return content
    return with_interval(*astuple(content))
