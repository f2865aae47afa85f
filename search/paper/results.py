"""Results of an experiment: each row's networks, costs and accuracies, as a table and in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from search.evaluation.estimates import Cell, Estimate, Mean, Report
from search.evaluation.jobs import Row, commit, other_commits
from search.evaluation.power import OFTEN, error_of, is_told, needed
from search.paper.experiment import Contrast, Experiment, Printed, TableRow
from supernet.cost.counts import count
from supernet.space.spec import NetSpec

UNITS = {"ms": "latency", "macs": "multiply-adds"}
"""Costs that rows are compared by, in words."""
HEAD = {"params": "parameters, M", "macs": "multiply-adds, M", "ms": "ms"}
"""Columns of costs."""
MILLIONS = {"params": 1e6, "macs": 1e6, "ms": 1.0}


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
                **{name: training.get(name) for name in ("steps", "val", "test", "cpu_seconds")},
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
    unsure = f", which {seeds} {'seeds' if seeds > 1 else 'seed'} cannot tell from 0"
    if seeds > 1 and found.value:
        number = needed(seeds, found.value, error_of(found))
        unsure += f" ({number:,} would, {OFTEN}, if that is its size)"
    return f"{unsure}, where {paper}" if paper else unsure


def make_report(
    experiment: Experiment, results: Sequence[RowResult], trained: str, device: str
) -> Report:
    """The table of an experiment, and in one sentence what it shows here.

    Args:
        experiment: what was run.
        results: its rows.
        trained: how long and by what, in words.
        device: that the latencies are of.
    """
    rows = [training for one in results for training in one.trainings]
    facts = [
        experiment.title,
        f"the paper: {experiment.claim}",
        *filter(None, [experiment.note]),
        trained,
        f"latency of whole networks, one image on one thread: {device}",
        f"commit {commit() or 'unknown'}",
        *filter(None, [other_commits(rows)]),
    ]
    table = {one.row.name: _cells(one) for one in results}
    return Report(facts, {"network": table}, conclusion(experiment, results))


def _cells(result: RowResult) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        head: f"{result.cost(unit) / MILLIONS[unit]:.3g}" for unit, head in HEAD.items()
    }
    cells["test accuracy, %"] = result.accuracy.estimate
    cells["seeds"] = str(len(result.trainings))
    return cells | _printed(result.row.paper)


def _printed(paper: Printed) -> dict[str, Cell]:
    """The paper's figures; a dash where it prints none."""
    values = {HEAD[unit]: getattr(paper, unit) for unit in HEAD} | {"top-1, %": paper.accuracy}
    return {
        f"paper: {head}": "-" if value is None else f"{value:g}" for head, value in values.items()
    }


def conclusion(experiment: Experiment, results: Sequence[RowResult]) -> str:
    """What the experiment shows here and what it does not, in one sentence."""
    by_name = {one.row.name: one for one in results}
    told = [
        contrast_words(one, by_name[one.better], by_name[one.worse], experiment.axis)
        for one in experiment.contrasts
    ]
    limits = "this says nothing of ImageNet or of a phone"
    return "; ".join([*told, limits])
