"""Whole searches under constraints."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from supernet.arch_file import read_arch
from supernet.cost.model import CLOSED_FORMS
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from tests.helpers.documented import undocumented
from tests.helpers.tables import NOWHERE, random_table
from tests.helpers.tiny import SEARCHED

ROOT = Path(__file__).parents[2]
CONSTRAINTS = '[{"cost": "params", "limit": "p30"}, {"cost": "memory", "limit": "p50"}]'


@pytest.mark.parametrize("kind", ["ppo", pytest.param("evolution", marks=pytest.mark.slow)])
def test_a_search_keeps_its_constraints(search, tiny_search, tmp_path, capsys, kind):
    search(
        *tiny_search,
        "--model.constraints",
        CONSTRAINTS,
        "--model.controller.kind",
        kind,
        "--model.target",
        "p50",
    )
    found = read_arch(tmp_path / "run" / "arch.json")
    params, memory = found.constraints
    assert (params.cost, memory.cost) == ("params", "memory")
    assert params.predicted == found.params <= params.limit
    assert memory.predicted == CLOSED_FORMS["memory"].predict(found.spec) <= memory.limit
    points = json.loads((tmp_path / "run" / "pareto.json").read_text())["points"]
    for point in points:
        assert all(one["predicted"] <= one["limit"] for one in point["constraints"])
    assert f"params: {params.predicted:.4g}, at most {params.limit:.4g}" in capsys.readouterr().out


def test_where_constraints_bind_the_best_network_below_the_target_is_chosen(
    search, tiny_search, tmp_path, capsys
):
    constraint = '[{"cost": "params", "limit": "p1"}]'
    search(*tiny_search, "--model.constraints", constraint, "--model.target", "p99")
    found = read_arch(tmp_path / "run" / "arch.json")
    assert found.predicted < 0.99 * found.target
    assert found.params <= found.constraints[0].limit
    out = capsys.readouterr().out
    assert "note: the constraints keep all networks out of the 1% below target" in out
    assert "constrains nothing" not in out


def test_a_search_on_tables_of_other_devices_names_them(search, tiny_search, tmp_path, capsys):
    for number, device in enumerate(("a phone", "a watch")):
        random_table(SEARCHED, number, {**NOWHERE, "device": device}).write(
            tmp_path / f"{device}.json"
        )
    constraint = {"cost": "ms", "limit": "p30", "table": str(tmp_path / "a watch.json")}
    options = ["--model.cost", "ms", "--model.table", tmp_path / "a phone.json"]
    search(*tiny_search, *options, "--model.constraints", json.dumps([constraint]))
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("latency is ")
    ]
    here = device_name(OnnxRuntime().description())
    assert line.startswith(
        f"latency is predicted for a phone, none, 1 thread, while this machine is {here}; the table"
    )
    found = read_arch(tmp_path / "run" / "arch.json")
    assert undocumented(tmp_path / "run" / "arch.json") == set()
    assert found.device == "a phone, none, 1 thread"
    assert found.table_error.networks == 16
    (kept,) = found.constraints
    assert kept.device == "a watch, none, 1 thread"
    assert len(kept.table) == 64
    assert kept.predicted <= kept.limit


@pytest.fixture
def refused(search, capsys):
    """The one line with which a search is refused."""

    def run(*options):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            search(*options)
        assert leaving.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def test_constraints_that_leave_nothing_end_the_search_before_its_first_step(
    refused, tiny_search, tmp_path
):
    constraint = '[{"cost": "params", "limit": 100}]'
    line = refused(*tiny_search, "--model.constraints", constraint)
    assert "was found that keeps params at most 100: raise a limit" in line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_search_with_other_constraints_is_not_continued(refused, finished_search):
    line = refused(*finished_search, "--model.constraints", CONSTRAINTS, "--ckpt_path", "last")
    assert "the checkpoint's constraints is [], this search's is [['params'" in line


def test_a_table_of_another_resolution_ends_the_search_with_the_way_out(
    refused, tiny_search, tmp_path
):
    other = dataclasses.replace(SEARCHED, resolution=12)
    table = random_table(other, 0, {**NOWHERE, "space": dataclasses.asdict(other)})
    table.write(tmp_path / "table.json")
    options = ["--model.cost", "ms", "--model.table", tmp_path / "table.json"]
    line = refused(*tiny_search, *options)
    assert (
        "the first is conv_k3_s1_i8_o8_se0_none_px8_relu, for it was built at 12 px, not 8" in line
    )
    assert "mnasnet latency build" in line
    assert "--resolution 8 --classes 10" in line


@pytest.mark.slow
def test_the_constraints_of_the_docs_are_understood(search, tiny_search, tmp_path):
    text = (ROOT / "docs" / "latency.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    asked = yaml.safe_load(block)["model"]["constraints"]
    assert {one["cost"] for one in asked} == {"ms", "params", "macs", "memory", "size"}
    random_table(SEARCHED, 1).write(tmp_path / "phone.json")
    asked[0] |= {"table": str(tmp_path / "phone.json")}
    search(*tiny_search, "--model.constraints", json.dumps(asked), "--run", tmp_path / "docs")
    kept = read_arch(tmp_path / "docs" / "arch.json").constraints
    assert [one.cost for one in kept] == [one["cost"] for one in asked]
