"""Results of an experiment: each row's networks, what they cost, and what they learnt."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from search.evaluation.estimates import Estimate, Mean
from search.evaluation.jobs import Row
from search.evaluation.power import OFTEN, error_of, is_told, needed
from search.paper.experiment import Contrast, TableRow
from supernet.cost.counts import count
from supernet.space.spec import NetSpec

UNITS = {"ms": "latency", "macs": "multiply-adds"}
"""Costs that rows are compared by, in words."""


@dataclass(frozen=True)
class RowResult:
    """A row of the table, run with every seed."""

    row: TableRow
    specs: Sequence[NetSpec]
    """The network of each seed: the same one, or what that search chose."""
    trainings: Sequence[Row]
    """The training of each seed."""
    times: Sequence[float]
    """Latency of each seed's network, ms of one image on one thread."""
    searches: Sequence[Row] = ()
    """The search of each seed, if there were any."""

    @property
    def accuracy(self) -> Mean:
        """Of the test images, in points."""
        return Mean.of([100 * row["test"] for row in self.trainings])

    def costs(self, unit: str) -> list[float]:
        """Cost of each seed's network: ms, macs or params."""
        if unit == "ms":
            return [*self.times]
        return [float(getattr(count(spec), unit)) for spec in self.specs]

    def cost(self, unit: str) -> float:
        """Mean over the seeds."""
        return fmean(self.costs(unit))

    def plain(self) -> list[dict[str, Any]]:
        """What was measured, a record for each seed, for JSON."""
        costs = zip(*(self.costs(unit) for unit in ("ms", "macs", "params")), strict=True)
        return [
            {
                "row": self.row.name,
                "seed": training["seed"],
                "commit": training["commit"],
                "blocks": spec.block_strings(),
                **dict(zip(("ms", "macs", "params"), cost, strict=True)),
                **{name: training[name] for name in ("steps", "val", "test", "cpu_seconds")},
                "paper": asdict(self.row.paper),
            }
            for spec, training, cost in zip(self.specs, self.trainings, costs, strict=True)
        ]


def difference(better: RowResult, worse: RowResult) -> Estimate:
    """Difference of two rows in points of test accuracy, by Welch."""
    return (better.accuracy - worse.accuracy).estimate


def contrast_words(contrast: Contrast, better: RowResult, worse: RowResult, unit: str) -> str:
    """What two rows say here, and whether the paper says the same, in words."""
    found = difference(better, worse)
    told = f"{found.value:+.1f}"
    if found.low == found.low:  # not NaN: of one seed there is no interval
        told += f" [{found.low:+.1f} {found.high:+.1f}]"
    costs = f"{better.cost(unit) / worse.cost(unit):.2f} times its {UNITS[unit]}"
    verdict = _verdict(contrast, found, better)
    return f"{contrast.better} less {contrast.worse} {told} points at {costs}{verdict}"


def _verdict(contrast: Contrast, found: Estimate, better: RowResult) -> str:
    """What becomes of the paper's difference, and how sure that is."""
    paper = "" if contrast.points is None else f"the paper has {contrast.points:+.1f}"
    if is_told(found):
        agrees = "as" if found.value * (contrast.points or 0) > 0 else "but"
        return f", {agrees} {paper}" if paper else ""
    seeds = len(better.trainings)
    unsure = f", which {seeds} seeds cannot tell from 0"
    if seeds > 1 and found.value:
        number = needed(seeds, found.value, error_of(found))
        unsure += f" ({number:,} would, {OFTEN}, if that is its size)"
    return f"{unsure}, where {paper}" if paper else unsure
