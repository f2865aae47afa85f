"""int8 from reward to file: a table in int8, a search by it, its network retrained and exported."""

import json
import sys

import pytest

from retrain.__main__ import main as retrain
from retrain.export import quantization
from retrain.export.export import main as export
from supernet.arch_file import read_arch
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.table.table import LatencyTable
from tests.helpers.exports import report_of
from tests.helpers.tables import random_table

RETRAINING = """
threads: 1
model:
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0, bn_momentum: 0.1}
data: {class_path: Digits, init_args: {resolution: 8, batch_size: 64}}
trainer: {max_epochs: 12, accelerator: cpu, devices: 1}
wandb: {mode: disabled}
"""


def last_line(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


@pytest.mark.slow  # three finalists are exported
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_search_by_a_table_in_int8_ends_in_a_file_in_int8(
    search, tuned_search, tmp_path, monkeypatch, capsys
):
    search(*tuned_search)  # for its space
    space = read_arch(tmp_path / "run" / "arch.json").space
    table, folder = tmp_path / "table.json", tmp_path / "found"
    random_table(space, 0, OnnxRuntime(Backend(precision="int8")).description()).write(table)
    monkeypatch.setattr(
        "search.selection.device_times.measure_specs", lambda specs, among, precision: [2.0]
    )
    timed = ["--model.cost", "ms", "--model.table", table, "--model.final.measured", "1"]
    search(*tuned_search, "--run", folder, *timed, "--model.final.int8", "true")

    found, told = read_arch(folder / "arch.json"), capsys.readouterr().out
    assert found.device == LatencyTable.read(table).device
    assert found.device.endswith(", int8")
    (chosen,) = [one for one in pareto(folder)["points"] if one["chosen"]]
    lost = 100 * (chosen["accuracy"] - chosen["int8_accuracy"])
    assert abs(lost) < 30, "of a network that was tuned for a few steps"
    line = last_line(told, "in int8: ")
    assert line == f"in int8: {chosen['int8_accuracy']:.3f}, {lost:.2f} points lost"
    assert "measured on this machine in int8: 2 ms" in told

    trained, config = tmp_path / "trained", tmp_path / "retrain.yaml"
    config.write_text(RETRAINING)
    words = ["fit", "-c", config, "--run", trained, "--model.arch", folder / "arch.json"]
    monkeypatch.setattr(sys, "argv", ["retrain", *map(str, words)])
    retrain()
    capsys.readouterr()
    for name, limit in {"MAX_RELATIVE_DIFFERENCE": 0.3, "MAX_DIFFERENCE": 1.0}.items():
        monkeypatch.setattr(quantization, name, limit)
    monkeypatch.setattr(quantization, "MIN_AGREEMENT", 0.8)
    words = ["--run", str(trained), "--formats", "onnx"]
    export(words)
    assert "note: that is the time in int8: give --quantize int8" in capsys.readouterr().out
    export([*words, "--quantize", "int8", "--max_accuracy_loss", "10"])
    assert "note: that is the time in int8" not in capsys.readouterr().out

    report = report_of(trained)
    assert report["predicted"]["ms"] == found.predicted
    assert report["predicted"]["device"] == found.device
    small = report["formats"]["onnx-int8"]
    assert small["accuracy"]["points_lost"] <= 10
    assert small["accuracy"]["fp32_accuracy"] > 0.5
    assert small["latency_ms"] > 0


def pareto(folder):
    return json.loads((folder / "pareto.json").read_text())
