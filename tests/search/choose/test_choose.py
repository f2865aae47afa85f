"""Later questions to one finished search: six targets and two devices, a front, limits, kills."""

import json
import shutil
import sys

import pytest
import yaml

from search.choose.command import choose
from search.objective.costs import quantile
from supernet.arch_file import read_arch
from supernet.cost.model import CLOSED_FORMS
from supernet.errors import UserError
from supernet.run.data_record import record_file
from tests.conftest import TINY_SEARCH, blank
from tests.helpers.documented import undocumented
from tests.helpers.tables import DIGITS, random_table

FEW = ("--labels", 2, "--candidates", 2)


def ask(run, *options):
    choose(["--run", str(run), *map(str, options)])


def contents(folder, *names):
    return {name: (folder / name).read_bytes() for name in names}


def searched(folder, *options):
    from search.__main__ import main

    config = yaml.safe_load(TINY_SEARCH)
    config["model"]["sampling"] = {"score": "tuned", "samples": 4}
    config["model"]["surrogate"] = {"networks": 10, "first": 8, "rounds": 2, "updates": 1}
    config["model"]["final"] |= {"candidates": 2, "tuning_steps": 4}
    config["trainer"]["max_steps"] = 40
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        line = ["-c", folder / "tiny.yaml", "--run", folder / "run", *options]
        patch.setattr(sys, "argv", ["search", "fit", *map(str, line)])
        patch.setattr("search.figures.save_figure", blank)
        main()
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory, _percentiles_once):
    """A finished search, and the tables of two devices beside it."""
    folder = tmp_path_factory.mktemp("search")
    found = searched(folder)
    for seed in (1, 2):
        space = read_arch(found / "arch.json").space
        random_table(space, seed).write(folder / f"phone{seed}.json")
    return found


@pytest.fixture(scope="module")
def answer(run):
    """Three targets on the first device."""
    ask(run, "--target", "p20", "p50", "p80", "--table", run.parent / "phone1.json", *FEW)
    return run / "choices" / "p20-to-p80-phone1"


def assert_right_below(path):
    found = read_arch(path)
    assert 0.99 * found.target <= found.predicted <= found.target
    return found


def test_each_choice_on_another_device_lies_right_below_its_target(run, answer):
    found = [assert_right_below(answer / f"arch-{name}.json") for name in ("p20", "p50", "p80")]
    assert {one.unit for one in found} == {"ms"}
    table = random_table(found[0].space, 1)
    assert [one.table for one in found] == [table.hash] * 3
    assert [one.predicted for one in found] == [table.predict(one.spec) for one in found]
    written = list(answer.glob("*.json"))
    assert {path.name: undocumented(path) for path in written if undocumented(path)} == {}
    front = json.loads((answer / "pareto.json").read_text())
    assert list(front["targets"]) == ["p20", "p50", "p80"]
    assert {name for point in front["points"] for name in point["chosen"]} == {"p20", "p50", "p80"}
    assert record_file(answer, found[0].data.digest).exists()


def test_an_answer_costs_its_own_tunings_alone(run, answer):
    """What the search has tuned is known, and paid for."""
    kept = (answer / "tunings-rank0.jsonl").read_text().splitlines()
    known = (run / "tunings-rank0.jsonl").read_text().splitlines()
    assert len(kept) <= 3 * (2 + 2)
    assert not set(kept) & set(known)
    labels = json.loads((answer / "surrogate.json").read_text())["labels"]
    first = json.loads((run / "surrogate.json").read_text())["labels"]
    told = ("arch", "loss", "accuracy", "round", "origin")
    assert [[one[name] for name in told] for one in labels[: len(first)]] == [
        [one[name] for name in told] for one in first
    ]
    assert len(labels) > len(first)
    space = read_arch(run / "arch.json").space
    expected = 0.0
    for row in map(json.loads, kept):
        images = row["steps"] * 16 + row["judged"] * (64 + 179) / 3
        expected += images * CLOSED_FORMS["macs"].predict(space.spec(space.decode(row["code"])))
    spent = json.loads((answer / "cost.json").read_text())
    assert spent["image_macs"] == pytest.approx(expected)


@pytest.mark.slow  # a question of its own
def test_a_front_on_a_second_device_keeps_its_limits(run):
    space = read_arch(run / "arch.json").space
    most = quantile(CLOSED_FORMS["params"], space, 0.7)
    limits = f"[{{cost: params, limit: {most}}}]"
    table = run.parent / "phone2.json"
    ask(
        run,
        "--front",
        3,
        "--table",
        table,
        "--constraints",
        limits,
        *FEW,
        "--out",
        run.parent / "f",
    )
    for name in ("p16.67", "p50", "p83.33"):
        found = assert_right_below(run.parent / "f" / f"arch-{name}.json")
        assert CLOSED_FORMS["params"].predict(found.spec) <= most
        assert [one.limit for one in found.constraints] == [most]


@pytest.mark.slow  # a question of its own
def test_a_killed_answer_goes_on_to_the_same_bytes(answer, run, tmp_path):
    names = [f"arch-{name}.json" for name in ("p20", "p50", "p80")]
    names += ["pareto.json", "surrogate.json"]
    cut = tmp_path / "cut"
    shutil.copytree(answer, cut)
    lines = (cut / "tunings-rank0.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "tunings-rank0.jsonl").write_bytes(b"".join(lines[:7]) + lines[7][:40])
    for name in names:
        (cut / name).unlink()
    table = run.parent / "phone1.json"
    ask(run, "--target", "p20", "p50", "p80", "--table", table, *FEW, "--out", cut)
    assert contents(cut, *names) == contents(answer, *names)
    whole, mended = (json.loads((one / "cost.json").read_text()) for one in (answer, cut))
    assert mended["image_macs"] == whole["image_macs"]


@pytest.mark.slow  # a question of its own
def test_the_searchs_own_question_is_answered_at_least_as_well(run, tmp_path):
    """By the networks that it has tuned to choose from, at no further cost, and by others."""
    ask(run, "--target", "p40", *FEW, "--out", tmp_path)
    found = assert_right_below(tmp_path / "arch.json")
    assert found.target == read_arch(run / "arch.json").target
    judged, own = (
        json.loads((one / "surrogate.json").read_text())["finalists"] for one in (tmp_path, run)
    )
    assert [one["arch"] for one in judged[: len(own)]] == [one["arch"] for one in own]
    best = min(judged, key=lambda one: one["loss"] + one["predicted_loss"])
    assert list(found.space.encode(found.arch)) == best["arch"]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("lies below the cheapest network of the space", ("--target", 3)),
        pytest.param(
            "latency table", ("--target", "p50", "--table", "other.json"), marks=pytest.mark.slow
        ),
        pytest.param(
            "space.resolution is 8, this",
            ("--target", "p50", "--data.init_args.resolution", 16),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(run, tmp_path, monkeypatch, words, options):
    monkeypatch.chdir(tmp_path)
    random_table(DIGITS, 0).write(tmp_path / "other.json")
    with pytest.raises(UserError, match=words) as error:
        ask(run, *options, "--out", tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.slow  # a search and an answer of their own
def test_a_search_that_shared_no_weights_answers_too(tmp_path):
    run = searched(tmp_path, "--model.schedule.share", 0)
    ask(run, "--target", "p70", *FEW)
    assert_right_below(run / "choices" / "p70" / "arch.json")
