"""Report of an experiment: its table beside the paper's figures, and one sentence."""

from collections.abc import Sequence

from search.evaluation.estimates import Cell, Report
from search.evaluation.jobs import commit, other_commits
from search.paper.experiment import Experiment, Printed
from search.paper.results import RowResult, contrast_words

HEAD = {"params": "parameters, M", "macs": "multiply-adds, M", "ms": "ms"}
"""Columns of costs."""
MILLIONS = {"params": 1e6, "macs": 1e6, "ms": 1.0}


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
