"""The figure of an experiment: which points stand in which panel."""

import itertools

import pytest

from search.paper.experiment import Experiment, Printed, TableRow
from search.paper.figure import draw_experiment
from search.paper.results import RowResult
from supernet.space.published import published_spec

SPEC = published_spec("mnasnet_a1")


def result(name, ms, **fields):
    row = TableRow(name, network="mnasnet_a1", **fields)
    return RowResult(row, [SPEC] * 2, [{"test": 0.5}, {"test": 0.6}], [ms] * 2)


def points(axes):
    """Costs and accuracies by line, those of the intervals left out."""
    lines = {one.get_label(): one.get_xydata().tolist() for one in axes.lines}
    return {name: values for name, values in lines.items() if not name.startswith("_")}


def test_each_panel_has_its_own_rows_here_and_in_the_paper():
    rows = [
        result("A1 wide", 3.0, line="A1", panel="widths", paper=Printed(75.2, ms=78)),
        result("A1 narrow", 1.0, line="A1", panel="widths"),
        result("B", 2.0, line="B", panel="widths"),
        result("A1 small", 0.5, line="A1", panel="sizes", paper=Printed(64.4, ms=18)),
    ]
    experiment = Experiment("Figure", "", tuple(one.row for one in rows), (), {})
    panels = {
        one.get_title("left"): points(one)
        for one in draw_experiment(experiment, rows, "adder").axes
    }
    assert panels == {
        "Here: widths": {
            "A1": [[1.0, pytest.approx(55)], [3.0, pytest.approx(55)]],
            "B": [[2.0, pytest.approx(55)]],
        },
        "The paper, on ImageNet: widths": {"A1": [[78, 75.2]], "B": []},
        "Here: sizes": {"A1": [[0.5, pytest.approx(55)]]},
        "The paper, on ImageNet: sizes": {"A1": [[18, 64.4]]},
    }


def test_a_figure_without_panels_and_printed_numbers_has_one():
    rows = [result("a", 1.0), result("b", 2.0)]
    experiment = Experiment("Figure", "", tuple(one.row for one in rows), (), {})
    (axes,) = draw_experiment(experiment, rows, "adder").axes
    assert axes.get_title("left") == "Here"
    assert len(axes.texts) == 2


def test_names_cover_neither_each_other_nor_an_edge():
    names = ["a rather long name", "another long name", "the last long name"]
    rows = [result(name, cost) for name, cost in zip(names, (1.0, 1.02, 9.0), strict=True)]
    experiment = Experiment("Figure", "", tuple(one.row for one in rows), (), {})
    (axes,) = draw_experiment(experiment, rows, "adder").axes
    assert sorted(one.get_text() for one in axes.texts) == sorted(names)
    boxes = [one.get_window_extent() for one in axes.texts]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    assert max(one.x1 for one in boxes) <= axes.bbox.x1
