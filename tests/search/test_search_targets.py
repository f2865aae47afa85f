"""What a whole search chooses: right below its target, or each of its targets."""

import csv
import json

import pytest
import yaml

from supernet.arch_file import read_arch
from supernet.arch_records import Measured
from supernet.errors import UserError
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.runtimes import OnnxRuntime
from tests.helpers.tables import random_table
from tests.helpers.tiny import SEARCHED


@pytest.mark.parametrize(
    "kind",
    ["evolution", "cost_gradient"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in ("reinforce", "tunas", "random")],
)
def test_a_search_ends_right_below_the_target_under_every_controller(
    search, tiny_search, tmp_path, capsys, kind
):
    search(*tiny_search, "--model.controller.kind", kind)
    found = read_arch(tmp_path / "run" / "arch.json")
    assert 0.99 * found.target <= found.predicted <= found.target
    assert "constrains nothing" not in capsys.readouterr().out
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        learned = [row["entropy/op"] for row in csv.DictReader(file)]
    assert sum(map(bool, learned)) == 2


@pytest.mark.parametrize("kind", ["soft", pytest.param("hard", marks=pytest.mark.slow)])
def test_a_search_ends_right_below_the_target_under_every_reward(
    search, tiny_search, tmp_path, kind
):
    search(*tiny_search, "--model.reward.kind", kind, "--model.target", "p80")
    found = read_arch(tmp_path / "run" / "arch.json")
    assert 0.99 * found.target <= found.predicted <= found.target


def test_where_no_network_is_near_the_target_the_search_says_so_and_takes_the_nearest(
    search, tiny_search, tmp_path, capsys
):
    few = {"ops": ["conv"], "kernels": [3], "ses": [0.0], "skips": ["none"], "filters": [1.0]}
    few |= {"base_layers": [1, 1], "base_filters": [80, 160], "strides": [1, 2], "layers": [0, 1]}
    options = [f"--model.space.{name}={json.dumps(value)}" for name, value in few.items()]
    search(*tiny_search, *options, "--model.target", "p99")
    found = read_arch(tmp_path / "run" / "arch.json")
    near = 0.5 * (found.predicted + found.target)
    capsys.readouterr()
    search(*tiny_search, *options, f"--model.target={found.target - 1}", "--run", tmp_path / "low")
    low = read_arch(tmp_path / "low" / "arch.json")
    assert near > low.target > low.predicted
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: no network of the space lies within 1% below target")
    assert note.endswith(f"the choice will be the nearest from below with {low.predicted:.4g} macs")


def test_a_search_for_three_targets_leaves_a_network_for_each(
    search, tiny_search, tmp_path, capsys
):
    run, names = tmp_path / "run", ["p20", "p80", "0.05x_mnasnet_a1"]
    targets = "[p20, p80, 0.05x mnasnet_a1]"
    search(*tiny_search, "--model.target", targets, "--model.final.candidates", 1)
    assert sorted(path.name for path in run.glob("*arch*")) == sorted(
        f"arch-{name}.json" for name in names
    )
    archs = {name: read_arch(run / f"arch-{name}.json") for name in names}
    assert all(0.99 * one.target <= one.predicted <= one.target for one in archs.values())
    front = json.loads((run / "pareto.json").read_text())
    assert front["targets"] == {name: one.target for name, one in archs.items()}
    chosen = {name: point for point in front["points"] for name in point["chosen"]}
    assert {name: point["cost"] for name, point in chosen.items()} == {
        name: one.predicted for name, one in archs.items()
    }
    networks = {f"network-{name}" for name in names}
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert figures == {"entropy", "loss", "pareto", "progress"} | networks
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("chosen: ") for line in printed) == 3
    with pytest.raises(UserError, match=r"name one of arch-0\.05x_mnasnet_a1\.json, arch-p20"):
        read_arch(run / "arch.json")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["target"] == ["p20", "p80", "0.05x mnasnet_a1"]
    with pytest.raises(SystemExit):
        search(*tiny_search, "--model.target", "[p20, p80]", "--ckpt_path", "last")
    assert "error: the checkpoint's target is [" in capsys.readouterr().err


@pytest.mark.slow  # it measures this machine
def test_arch_json_says_what_was_measured_on_the_machine_of_the_table(
    search, tiny_search, tmp_path, capsys, monkeypatch
):
    asked = []
    machines = {
        "here": OnnxRuntime().description(),
        "in int8": OnnxRuntime(Backend(precision="int8")).description(),
        "elsewhere": None,
    }
    for name, machine in machines.items():
        random_table(SEARCHED, 0, machine).write(tmp_path / f"{name}.json")
    monkeypatch.setattr(
        "search.selection.device_times.measure_specs",
        lambda specs, among, precision: asked.append(precision) or [2.0] * len(specs),
    )
    timed = ["--model.cost", "ms", "--model.final.measured", "2", "--model.table"]
    for name in machines:
        line = [*tiny_search, "--run", tmp_path / name, *timed, tmp_path / f"{name}.json"]
        capsys.readouterr()
        search(*line)
        (text,) = [one for one in capsys.readouterr().out.splitlines() if "measured" in one]
        found = read_arch(tmp_path / name / "arch.json")
        if name == "elsewhere":
            assert found.measured is None
            assert text == "measured on this machine: 2 ms"
            continue
        assert found.measured == Measured.beside(found.predicted, 2.0)
        where = "this machine in int8" if name == "in int8" else "this machine"
        assert text == f"measured on {where}: 2 ms, {found.measured.comparison}"
        if name == "in int8":
            continue
        files = [(tmp_path / name / file).read_bytes() for file in ("arch.json", "measured.json")]
        monkeypatch.setattr("search.selection.device_times.measure_specs", None)
        search(*line, "--ckpt_path", "last")
        again = [(tmp_path / name / file).read_bytes() for file in ("arch.json", "measured.json")]
        assert again == files
        monkeypatch.setattr(
            "search.selection.device_times.measure_specs",
            lambda specs, among, precision: asked.append(precision) or [2.0] * len(specs),
        )
    assert asked == ["fp32", "int8", "fp32"]


def test_a_target_above_the_costliest_network_is_noted(search, tiny_search, capsys):
    search(*tiny_search, "--model.target", "1e9", "--dry_run")
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: target 1e+09 macs constrains nothing, as the costliest network ")
