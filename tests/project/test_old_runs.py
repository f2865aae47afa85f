"""What commit fa87f1f wrote, the last of its layout, is read today: runs, tables and settings."""

import json
import re
import sys
from pathlib import Path

import pytest

from retrain.__main__ import main as retrain
from retrain.detect.__main__ import main as detect
from search.__main__ import main as search
from search.compare.benchmark import read_search
from search.evaluation.trainings import Job, identity
from search.front import read_front
from search.monitoring.compute import Spent
from supernet.arch_file import read_arch
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.table.table import LatencyTable
from supernet.space.published import published_spec
from supernet.training.config import read_training

ROOT = Path(__file__).parents[2]
CONFIGS, RESULTS = ROOT / "configs", ROOT / "benchmarks" / "results"
OLD = ROOT / "tests" / "samples" / "fa87f1f"
ARCHS = sorted(OLD.glob("*/arch*.json"))
SEARCHES = ("macs", "three", "table")


@pytest.fixture
def settings(monkeypatch, capsys):
    """The settings that a command takes from a config.yaml, as it prints them; or its error."""

    def printed(main, config, status=0):
        monkeypatch.setattr(sys, "argv", ["run", "fit", "-c", str(config), "--print_config"])
        with pytest.raises(SystemExit, match=f"^{status}$"):
            main()
        captured = capsys.readouterr()
        return captured.err if status else captured.out

    return printed


@pytest.mark.parametrize("path", ARCHS, ids=lambda path: "-".join(path.parts[-2:]))
def test_old_architectures_are_read(path):
    found, written = read_arch(path), json.loads(path.read_text())
    assert found.spec.block_strings() == written["block_strings"]
    assert (found.params, found.macs) == (written["params"], written["macs"])
    assert found.predicted <= found.target


def test_there_are_old_architectures_of_one_target_of_three_and_of_a_table():
    assert len(ARCHS) == 5


@pytest.mark.parametrize("run", SEARCHES)
def test_an_old_search_is_read(run, settings):
    assert "class_path: supernet.data" in settings(search, OLD / run / "config.yaml")
    assert read_front(OLD / run / "pareto.json").targets
    spent = Spent.read(OLD / run / "cost.json")
    assert spent is not None
    assert spent.image_macs > 1e6


@pytest.mark.parametrize("run", ["macs", "table"])
def test_an_old_search_can_be_compared(run):
    assert read_search(OLD / run / "config.yaml").sampling.samples == 4


def test_an_old_latency_table_is_read():
    table = LatencyTable.read(OLD / "table.json")
    assert table.hash == read_arch(OLD / "table" / "arch.json").table


def test_an_old_retraining_is_read(settings):
    assert "optimizer: adamw" in settings(retrain, OLD / "retrain" / "config.yaml")
    assert read_training(OLD / "retrain" / "config.yaml").max_epochs == 1


def detector():
    run_command(detect)


@pytest.mark.parametrize(
    ("main", "run", "old", "new"),
    [
        (search, "clutter", "supernet.clutter.ClutteredDigits", "supernet.data.ClutteredDigits"),
        (detector, "detect", "supernet.boxes.DigitBoxes", "retrain.detect.digit_boxes.DigitBoxes"),
    ],
)
def test_a_data_class_that_has_moved_is_named(main, run, old, new, settings, tmp_path):
    config = OLD / run / "config.yaml"
    line = f"{config}: data.class_path is {old}, which is now {new}: write that"
    assert settings(main, config, status=2) == f"error: {line}\n"
    with pytest.raises(UserError, match=re.escape(line)):
        read_training(config)
    (tmp_path / "new.yaml").write_text(config.read_text().replace(old, new))
    assert f"class_path: {new}" in settings(main, tmp_path / "new.yaml")


def test_trainings_of_a_class_that_has_moved_are_still_found():
    training = read_training(CONFIGS / "clutter" / "retrain.yaml")
    rows = (RESULTS / "clutter-trainings.jsonl").read_text().splitlines()
    known = {json.loads(row)["config"] for row in rows}
    job = Job(published_spec("mnasnet_small"), seed=0, num_steps=400)
    assert identity(training, job)["config"] in known
