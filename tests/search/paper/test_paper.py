"""``mnasnet paper`` with given networks: what it trains, keeps, prints and refuses."""

import json

import pytest
import yaml

from search.paper import trained
from search.paper.command import main
from search.paper.experiment import experiment_names
from supernet.errors import UserError
from tests.helpers.tiny import TRAINING

TOY = """
kind: trainings
title: "Table 0: toys"
claim: the wide one is better
rows:
  - {name: wide, network: mnasnet_a1, line: A1, paper: {accuracy: 75.2, ms: 78}}
  - {name: narrow, network: mnasnet_a1, width: 0.5, size: 256, line: A1}
  - {name: plain, network: mobilenet_v2, layers: {expand: 3, kernel: 5}}
contrasts:
  - {better: wide, worse: narrow, points: 1.5}
scales:
  embedded:
    training: CONFIG
    resolution: 8
    smaller: {width: 0.1, depth: 0.1, divisor: 4, head: 16, strides: [1, 2, 1, 2, 1, 1, 1]}
    seeds: 2
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Runs a toy experiment, changed by a function of its settings, with further options."""
    (tmp_path / "retrain.yaml").write_text(TRAINING.replace("STEPS", "2"))
    monkeypatch.setattr(trained, "measure_specs", lambda specs: [float(len(specs))] * len(specs))

    def run(*options, change=lambda settings: None):
        settings = yaml.safe_load(TOY.replace("CONFIG", str(tmp_path / "retrain.yaml")))
        change(settings)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(settings))
        own = ["--run", tmp_path / "run", "--cache", tmp_path / "cache.jsonl", *options]
        main([str(word) for word in (tmp_path / "toy.yaml", *own)])
        return tmp_path

    return run


def test_an_experiment_trains_each_network_with_each_seed_once(toy, capsys, monkeypatch):
    folder = toy()
    rows = [json.loads(line) for line in (folder / "cache.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert {row["seed"] for row in rows} == {100, 101}
    told = json.loads((folder / "run/paper.json").read_text())
    assert [row["row"] for row in told["rows"]] == [
        name for name in ("wide", "narrow", "plain") for _ in range(2)
    ]
    wide, narrow = told["rows"][0], told["rows"][2]
    assert (wide["ms"], wide["paper"]["accuracy"], narrow["paper"]["ms"]) == (3, 75.2, None)
    assert wide["params"] > narrow["params"]
    assert (folder / "run/paper.png").stat().st_size > 10_000
    assert "Table 0" in (folder / "run/report.html").read_text()
    first = capsys.readouterr().out
    assert "wide less narrow" in first.splitlines()[-1]
    assert "the paper has +1.5" in first.splitlines()[-1]

    monkeypatch.setattr(trained, "measure_specs", None)
    toy()
    assert (folder / "cache.jsonl").read_text().count("\n") == 6
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]


def test_a_dry_run_leaves_no_file(toy, capsys):
    folder = toy("--dry_run", "--seeds", "3")
    assert "9 trainings of 2 steps" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["retrain.yaml", "toy.yaml"]


@pytest.mark.slow
def test_trainings_may_be_runs_of_their_own(toy):
    def change(settings):
        settings["scales"]["embedded"]["runs"] = True
        settings["rows"] = settings["rows"][:2]

    folder = toy("--seeds", "1", change=change)
    rows = [json.loads(line) for line in (folder / "cache.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [100, 100]
    assert all(0 < row["test"] < 0.5 for row in rows)
    assert len(list((folder / "cache").glob("*-100/test.json"))) == 2


def test_imagenet_is_not_begun_without_its_images(capsys, tmp_path):
    words = ["table6", "--scale", "imagenet", "--run", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"give --data\.root DIR, or --dry_run"):
        main(words)
    main([*words, "--dry_run"])
    assert "18 trainings of 350 epochs: about 1,705 GPU hours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.update(kind="guess"), "kind is 'guess', allowed are trainings"),
        (lambda one: one["rows"][1].update(name="wide"), "two rows are called 'wide'"),
        (lambda one: one["rows"][1].update(network=""), "'narrow' must have either a network or"),
        (lambda one: one["rows"][1].update(network="resnet"), "unknown network 'resnet'"),
        (lambda one: one["contrasts"][0].update(worse="none"), "contrasts.worse is 'none'"),
        (lambda one: one["rows"][0].update(widht=2), "unknown field rows[1].'widht'"),
        (lambda one: one["scales"]["embedded"].update(classes=7), "7 classes, 8 px"),
        (
            lambda one: one["scales"]["embedded"].update(smaller={"strides": [1, 2]}),
            "smaller.strides are 2, and the network has 7 stages",
        ),
        (lambda one: one["scales"].update(embedded={"training": "x"}), "resolution is missing"),
    ],
)
def test_what_no_experiment_is_is_refused(toy, change, words):
    with pytest.raises(UserError) as refused:
        toy(change=change)
    assert words in str(refused.value)


def test_an_experiment_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"experiment is 'table60', allowed are .*table6"):
        main(["table60"])


def test_without_a_name_all_experiments_are_listed_with_what_they_take(capsys):
    main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == experiment_names()
    assert all("minutes of CPU" in line for line in lines)
