"""search.truth: trials of controllers, and the command."""

import json
import sys

import numpy as np
import pytest
import torch

from search.compare import __main__ as compare
from search.truth.command import main
from search.truth.report import _censored, conclusion, trial_tables
from search.truth.sources import Source
from search.truth.trials import NOISES, Noise, Rules, Seen, Trial, TrialRunner, found
from search.truth.truth import Field
from supernet.errors import UserError

KINDS = ("ppo", "reinforce", "tunas", "cost_gradient", "evolution", "random")


@pytest.fixture(scope="module")
def runner(data):
    sources = {"nas-bench-macro": Source("nas-bench-macro", data)}
    return TrialRunner(sources, Rules(100, "macs"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_of_each_kind_is_a_function_of_its_seed(runner, kind):
    trial = Trial("nas-bench-macro", NOISES["training"], "p50", kind, 1)
    row = runner(trial)
    field = runner.field("nas-bench-macro", "p50")
    rows = torch.tensor([row["code"]])
    assert field.truth(rows)[0] == pytest.approx(row["accuracy"])
    assert field.objective.costs.of(rows)[0] <= field.target.cost
    assert 0 <= row["regret"] == pytest.approx(field.best - row["accuracy"])
    assert len(row["course"]) == 5
    again, other = runner(trial), runner(trial._replace(seed=2))
    timeless = {**again, "cpu_seconds": row["cpu_seconds"]}
    assert timeless == row
    assert other["config"] == row["config"]
    assert other["course"] != row["course"]


def test_noise_blurs_what_a_controller_is_rewarded_by(runner):
    rows = {
        name: runner(Trial("nas-bench-macro", noise, "p50", "random", 0))
        for name, noise in (("exact", NOISES["exact"]), ("0.1:0.9", Noise.of("0.1:0.9")))
    }
    # The same proposals, of which another is taken for the best.
    assert rows["exact"]["hits"] == rows["0.1:0.9"]["hits"]
    assert rows["exact"]["course"][-1] < rows["0.1:0.9"]["course"][-1]
    assert rows["exact"]["config"] != rows["0.1:0.9"]["config"]


@pytest.mark.parametrize("text", ["loud", "0:0.5", "1:0.5", "0.4", "0.4:2", "nan:0", ".3:"])
def test_noise_that_cannot_be_is_refused(text):
    with pytest.raises(UserError, match=f"--noise {text} is neither exact, training, tuning"):
        Noise.of(text)


def test_what_was_found_counts_hits_within_the_band_and_waits(macro, runner):
    field: Field = runner.field("nas-bench-macro", "p50")
    codes = torch.from_numpy(field.truth.codes)
    costs, truths = field.objective.costs.of(codes).numpy(), field.truth(codes)
    limit = field.target.cost
    hit = np.flatnonzero((costs >= 0.95 * limit) & (costs <= limit))
    best = hit[truths[hit].argmax()]
    beyond, cheap = costs.argmax(), costs.argmin()
    order = [beyond] * 10 + [cheap] * 9 + [best] + [cheap] * 20
    rows = Seen(codes[order], truths[order], truths[order] / 100, costs[order])
    row = found(rows, field)
    assert row["hits"] == 1 / 40
    assert row["within_target"] == 30 / 40
    assert row["networks"] == 3
    assert row["nearly_after"] == (20 if truths[best] >= 0.99 * field.best else None)
    assert row["course"] == [round(field.best - truths[best], 4)] * 2
    assert 0 < row["hypervolume"] < 1


def test_a_band_s_best_is_that_of_all_below_the_target(runner):
    field = runner.field("nas-bench-macro", "p50")
    codes = torch.from_numpy(field.truth.codes)
    within = field.objective.costs.of(codes) <= field.target.cost
    assert field.best == field.truth(codes[within]).max()
    assert len(field.rows) < int(within.sum())


def row_of(controller, seed, regret, nearly=None):
    return {
        "truth": "t",
        "noise": "exact",
        "target": "p50",
        "controller": controller,
        "seed": seed,
        "regret": regret,
        "nearly_after": nearly,
        "evaluations": 100,
        "hypervolume": 0.5,
        "hits": 0.1,
        "cpu_seconds": 1.0,
    }


def test_tables_pair_controllers_with_random_search_by_seed():
    rows = [row_of("ppo", 0, 1.0, 40), row_of("ppo", 1, 2.0), row_of("random", 0, 3.0)]
    rows += [row_of("random", 1, 1.5)]
    (table,) = trial_tables(rows).values()
    assert table["ppo"]["beats it"] == "1 of 2"
    assert table["ppo"]["less than random's by"].value == pytest.approx(0.75)
    assert table["ppo"]["to 99 %"] == "over 70 (1 of 2)"
    assert table["random"]["beats it"] == table["ppo"]["less than ppo's by"] == ""
    assert table["random"]["less than ppo's by"].value == pytest.approx(-0.75)
    assert conclusion(rows) == "ppo has less regret than random search in 1 of 2 seeds on t (exact)"
    assert conclusion(rows[:2]) == ""


@pytest.mark.parametrize(
    ("soon", "num", "told"),
    [
        ([60, 20, 40], 4, "50 (3 of 4)"),
        ([60, 21, 40, 20], 4, "30.5 (4 of 4)"),
        ([60, 20, 40], 5, "60 (3 of 5)"),
        ([20, 41], 4, "over 70.5 (2 of 4)"),
        ([20, 40], 5, "over 100 (2 of 5)"),
        ([100], 1, "100 (1 of 1)"),
        ([], 1, "over 100 (0 of 1)"),
    ],
)
def test_the_median_wait_of_trials_of_which_some_never_came_so_far(soon, num, told):
    assert _censored(soon, num, 100) == told


def run(data, folder, tables, more="--searches"):
    """The command on invented tables; what it wrote of the rows."""
    words = f"--data {data} --run {folder} --controllers evolution random --evaluations 40"
    main([*f"{words} --seeds 2 --targets p50 {more} --truth {tables}".split()])
    return {file.name: file.read_text() for file in folder.glob("*.jsonl")}


def test_the_command_compares_controllers_and_goes_on(data, tmp_path, capsys):
    before = run(data, tmp_path / "run", "nas-bench-macro")
    assert "the table knows all of its 3,969 networks" in capsys.readouterr().out
    told = json.loads((tmp_path / "run/compare.json").read_text())
    assert list(told["tables"]) == ["nas-bench-macro, training, p50"]
    assert len(told["trials"]) == 4
    assert (tmp_path / "run/compare.png").stat().st_size > 10_000
    assert "Comparison" in (tmp_path / "run/report.html").read_text()
    assert len(before["outside_controllers.jsonl"].splitlines()) == 4
    assert run(data, tmp_path / "run", "nas-bench-macro") == before


@pytest.mark.slow
def test_whole_searches_are_done_where_there_is_a_space(data, tmp_path, quick, capsys):
    folder, more = tmp_path / "run", "--searches random --settings clear"
    before = run(data, folder, "nas-bench-macro accel-nasbench", more)
    assert "gradient boosting on 400 networks; left out, 2 folds: tau" in capsys.readouterr().out
    told = json.loads((folder / "compare.json").read_text())
    assert list(told["tables"]["whole searches, clear"]) == ["random, p50"]
    assert len(before["outside_truth.jsonl"].splitlines()) == 2
    assert run(data, folder, "nas-bench-macro accel-nasbench", more) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "--truth names no table: give accel-nasbench, nas-bench-macro, or a yaml file"),
        ("imagenet", "--truth imagenet is neither accel-nasbench or nas-bench-macro nor a yaml"),
        ("nas-bench-macro", "--truth nas-bench-macro needs --data DIR"),
        ("nas-bench-macro nas-bench-macro --data DATA", "names a table twice"),
        ("nas-bench-macro --data gone", "gone/nas-bench-macro/networks.csv is missing"),
        ("nas-bench-macro --data DATA --evaluations 30", "a multiple of the 20 samples"),
        ("nas-bench-macro --data DATA --targets 1", "lies below the cheapest network"),
        ("nas-bench-macro --data DATA --cost ms", "has no cost ms"),
        (
            "nas-bench-macro --data DATA --trainings x",
            "--trainings is for --predictors and --counts: add one",
        ),
        ("gone.yaml", "cannot read gone.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(data, tmp_path, words, told):
    with pytest.raises(UserError, match=told) as refused:
        main(["--run", str(tmp_path), "--truth", *words.replace("DATA", str(data)).split()])
    assert "\n" not in str(refused.value)


def test_compare_hands_the_option_on_and_leaves_no_folder_of_what_it_refuses(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare", "--truth=gone.yaml"])
    with pytest.raises(UserError, match=r"cannot read gone\.yaml"):
        compare.main()
    assert not [*tmp_path.iterdir()]
