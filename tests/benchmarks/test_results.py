"""Every file of benchmarks/results is read by today's readers."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.searches import FIRST_FRESH
from search.evaluation.trainings import identity, jobs_of, network_hash, read_space_for
from search.rank.networks import uniform_group
from search.settings import Sampling
from search.truth.counts import CLUTTER, SETS, SIZES
from search.truth.report import Key
from search.truth.searches import KINDS, METHODS
from search.truth.simulation import SETTINGS
from search.truth.tables import ACCEL_SPACE
from search.truth.trials import Noise
from supernet.latency.table.table import LatencyTable
from supernet.space.spec import NetSpec
from supernet.training.config import read_training

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
ROWS = sorted(RESULTS.glob("*.jsonl"))
REPORTS = ("clutter-compare.json", "clutter-rank-final.json", "clutter-rank-free.json")
WITHOUT_COMMIT = ("clutter-targets.jsonl",)
"""Written by a script from rows that have theirs."""


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.name)
def test_every_row_is_finite_and_names_its_commit(path):
    def refuse(constant):
        raise ValueError(f"{path.name} holds {constant}")

    for line in path.read_text().splitlines():
        row = json.loads(line, parse_constant=refuse)
        assert row.get("commit") or path.name in WITHOUT_COMMIT


def test_every_other_file_is_a_report_or_the_latency_table():
    others = {path.name for path in RESULTS.iterdir() if path.suffix != ".jsonl"}
    assert others == {*REPORTS, "clutter-latency.json"}
    for name in REPORTS:
        report = json.loads((RESULTS / name).read_text())
        for one in [report] if "tables" in report else report.values():
            assert {"options", "facts", "tables"} <= set(one)


def trainings(drawn, seeds, steps):
    """Identities of the trainings of 60 networks that the kept table draws."""
    training = read_training("configs/clutter/retrain.yaml")
    space = read_space_for(Path("configs/spaces/clutter.yaml"), training.make_data())
    table = LatencyTable.read(RESULTS / "clutter-latency.json")
    table.check_covers(space)
    specs = [one.spec for one in uniform_group(space, table, 60, 3, drawn).networks]
    wanted = jobs_of(specs, range(seeds), steps)
    return {tuple(identity(training, job).values()) for job in wanted}


def kept(name):
    return {(row["config"], row["network"], row["seed"]) for row in rows_of(RESULTS / name)}


@pytest.mark.parametrize("drawn", [0, 1], ids=["development set", "final set"])
def test_the_kept_table_draws_the_networks_whose_trainings_are_kept(drawn, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert trainings(drawn, 3, 400) <= kept("clutter-trainings.jsonl")


def test_long_trainings_are_of_the_same_networks_or_of_choices_and_their_controls(monkeypatch):
    monkeypatch.chdir(ROOT)
    drawn = trainings(0, 2, 3200) | trainings(0, 2, 6400) | trainings(1, 2, 3200)
    searches = rows_of(RESULTS / "clutter-searches-long.jsonl")
    specs = [NetSpec.from_json(json.dumps(row["network"])) for row in searches]
    choices = {network_hash(spec) for spec in specs}
    # The controls of a target are the same for short trainings.
    short = {(network, seed) for _, network, seed in kept("clutter-trainings.jsonl")}
    for key in kept("clutter-trainings-long.jsonl") - drawn:
        _, network, seed = key
        # The best of the controls is trained with fresh seeds, as choices are.
        chosen = seed >= FIRST_FRESH and network in choices
        assert chosen or (network, seed % FIRST_FRESH) in short


def test_outside_searches_are_of_today_s_methods_and_settings_each_once():
    rows = rows_of(RESULTS / "outside_truth.jsonl")
    keys = [(Key(row["method"], row["setting"], row["target"]), row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        assert row["method"] in METHODS
        setting = {**vars(SETTINGS[row["setting"]]), "setting": row["setting"]}
        del setting["name"]
        config = {**setting, "method": row["method"], "target": row["target"]}
        assert config.items() <= row.items()
        assert ACCEL_SPACE.decode(row["code"])
        assert 0 <= row["regret"] <= 20


def test_outside_trials_are_of_today_s_controllers_each_once_and_paired():
    rows = rows_of(RESULTS / "outside_controllers.jsonl")
    keys = [(row["config"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)
    groups = defaultdict(set)
    for row in rows:
        assert Noise.of(row["noise"]) == (row["noise"], row["tau"], row["bias"])
        assert len(row["course"]) * Sampling().samples == row["evaluations"]
        groups[row["truth"], row["target"], row["seed"]].add(row["controller"])
    assert set(map(frozenset, groups.values())) == {frozenset(KINDS)}


def test_outside_counts_are_of_today_s_sets():
    rows = rows_of(RESULTS / "outside_counts.jsonl")
    assert {row["counts"] for row in rows} == set(SETS)
    assert {row["labels"] for row in rows} == set(SIZES)
    assert set(CLUTTER) < {row["networks"] for row in rows}
