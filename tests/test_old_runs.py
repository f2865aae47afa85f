"""What commit fa87f1f wrote, the last of its layout, is read today: runs, tables and settings."""

import json
import sys
from pathlib import Path

import pytest

from retrain.__main__ import main as retrain
from retrain.detect import main as detect
from search.__main__ import main as search
from search.run_files import read_front
from search.search_file import read_search
from search.spending import Spent
from supernet.archfile import read_arch
from supernet.latency.table import LatencyTable
from supernet.trainingfile import read_training

OLD = Path(__file__).parent / "samples" / "fa87f1f"
ARCHS = sorted(OLD.glob("*/arch*.json"))
SEARCHES = ("macs", "three", "table")
RENAMED = {
    "clutter": "supernet.clutter.ClutteredDigits",
    "detect": "supernet.boxes.DigitBoxes",
}
"""Data classes that have moved since, by the run that names one."""


@pytest.fixture
def settings(monkeypatch, capsys):
    """The settings that a command takes from an old run's config.yaml, as it prints them."""

    def printed(main, run):
        line = [run, "fit", "-c", str(OLD / run / "config.yaml"), "--print_config"]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

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
    assert "class_path: supernet.data" in settings(search, run)
    assert read_front(OLD / run / "pareto.json").targets
    spent = Spent.read(OLD / run / "cost.json")
    assert spent is not None
    assert spent.image_macs > 1e6


@pytest.mark.parametrize("run", ["macs", "table"])
def test_an_old_search_can_be_compared(run):
    assert read_search(OLD / run / "config.yaml").sampling.samples == 4


def test_an_old_latency_table_is_read():
    table = LatencyTable.load(OLD / "table.json")
    assert table.hash == read_arch(OLD / "table" / "arch.json").table


def test_an_old_retraining_is_read(settings):
    assert "optimizer: adamw" in settings(retrain, "retrain")
    assert read_training(OLD / "retrain" / "config.yaml").max_epochs == 1


@pytest.mark.parametrize(("main", "run"), [(search, "clutter"), (detect, "detect")])
def test_data_classes_of_old_configs_are_known(main, run, settings):
    assert f"class_path: {RENAMED[run]}" in settings(main, run)
