"""benchmarks/searches.py: whole searches beside networks that no search has found."""

from argparse import Namespace

import pytest

from benchmarks.figures import Expected, draw_expected, draw_gains
from benchmarks.searches import Controls, Searches, report
from search.evaluation.estimates import Mean


def test_searches_of_one_question_share_their_tunings(tmp_path):
    for name, lines in {
        "a-p50-1": "one\ntwo\n",
        "b-p50-1": "two\nthree\n",
        "a-p50-2": "four\n",
        "a-p30-1": "five\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "tunings-rank0.jsonl").write_text(lines)
    searches = Searches(Namespace(name="no-such-rows", runs=tmp_path))
    searches._lend_tunings(tmp_path / "c-p50-1", "p50-1")
    assert (tmp_path / "c-p50-1/tunings-rank0.jsonl").read_text() == "one\ntwo\nthree\n"


class Judged:
    """Accuracies that are known beforehand."""

    def controls(self, target):
        level = {"p30": 0.5, "p70": 0.6}[target]
        means = (Mean(level + above, 1e-4, 3) for above in (0.0, 0.05, 0.02))
        return Controls(*means, cpu_seconds=10.0)

    def value(self, row):
        return row["worth"]


def test_choices_stand_beside_controls_and_the_first_method(capsys, tmp_path):
    worths = {
        ("one", "p30"): (0.58, 0.62),
        ("one", "p70"): (0.66, 0.7),
        ("two", "p30"): (0.6, 0.6),
        ("two", "p70"): (0.59, 0.73),
    }
    found = {
        (method, target, seed): {
            "worth": worth,
            "cpu_seconds": 25.0,
            "expected": {"value": worth - 0.5, "low": worth - 0.52, "high": worth - 0.49},
        }
        for (method, target), values in worths.items()
        for seed, worth in enumerate(values)
    }
    options = Namespace(
        methods=["one", "two=--x 1"],
        targets=["p30", "p70"],
        seeds=[0, 1],
        plot=tmp_path / "gains.png",
        plot_expected=tmp_path / "expected.png",
    )
    report(found, Judged(), options)
    printed = capsys.readouterr().out
    # Those of p30 say what is true, those of p70 ten points too much.
    assert (
        "# one: expected 14.0 points, found 9.0; 2 of 4 intervals hold the truth, 2 lie" in printed
    )
    rows = {tuple(line.split()[:2]): line for line in printed.splitlines()}
    assert "less one" in rows["method", "target"]
    numbers = {
        key: [float(word) for word in line.split()[2:] if "[" not in word and "]" not in word]
        for key, line in rows.items()
        if key[0] in ("one", "two")
    }
    # Choice, less random, worst, less best, less fewest; beside the first method; trainings.
    assert numbers["one", "p30"] == pytest.approx([60, 10, 8, 5, 8, 2.5])
    assert numbers["two", "p70"] == pytest.approx([66, 6, -1, 1, 4, -2, 2.5])
    assert numbers["two", "all"] == pytest.approx([63, 8, -1, 3, 6, -1, 2.5])
    assert options.plot.stat().st_size > options.plot_expected.stat().st_size / 4 > 1000


def test_figures_hold_each_search_where_it_belongs():
    gains = {"one": {"p30": [8.0, 12.0], "p70": [6.0, 10.0]}, "two": {"p30": [1.0], "p70": [2.0]}}
    (axes,) = draw_gains(gains).axes
    heights = [[float(y) for _, y in dots.get_offsets()] for dots in axes.collections]
    assert heights == [[8, 12], [6, 10], [8, 12, 6, 10], [1], [2], [1, 2]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["p30", "p70", "all"]
    (axes,) = draw_expected({"one": [Expected(10, 2, 18, 7)], "two": [Expected(5, 1, 9, 6)]}).axes
    dots = [one.get_offsets().tolist() for one in axes.collections if len(one.get_offsets()) == 1]
    assert [[10, 7]] in dots
    assert [[5, 6]] in dots
