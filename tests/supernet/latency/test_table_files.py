"""Files of latency tables: kept, loaded, refused when broken, and what a killed build leaves."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from supernet.errors import UserError
from supernet.latency.table.correction import Times
from supernet.latency.table.plan import middle_network
from supernet.latency.table.rounds import Rounds
from supernet.latency.table.table import LatencyTable
from supernet.latency.this_machine import table_for
from tests.helpers.synthetic_device import TINY, Refusing, SyntheticDevice, build

FIGURES = {"mape": 0.0, "within_5": 1.0, "within_10": 1.0, "kendall_tau": 1.0, "bias": 0.0}
BROKEN_CORRECTION = {"form": "scale", "strength": 0, "weights": {"later": None}, "errors": {}}
BROKEN_VALIDATION = {
    "networks": 1,
    "sessions": "a",
    "least_sessions": 1,
    "predicted": FIGURES,
    "noise": {},
    "baselines": {},
}


@pytest.fixture
def folder(exact, tmp_path):
    """A copy of the folder with the exact table, to spoil."""
    return shutil.copytree(exact, tmp_path / "tables")


@pytest.fixture
def table(exact):
    return table_for(TINY, [], exact, machine=Refusing)


def test_a_saved_table_loads_as_it_was(table, tmp_path):
    table.write(tmp_path / "table.json")
    loaded = LatencyTable.read(tmp_path / "table.json")
    assert loaded == table
    assert loaded.hash == table.hash
    assert len(table.hash) == 64
    assert loaded.device == "adder, runtime 1, 1 thread"


def test_the_hash_tells_tables_apart(table):
    key = next(iter(table.entries))
    other = dataclasses.replace(table, entries={**table.entries, key: Times(1.0, 2.0)})
    assert other.hash != table.hash


def test_a_table_is_measured_once_for_a_space_and_its_references(table, folder):
    assert table_for(TINY, [], folder, machine=Refusing) == table
    for options in (
        {"space": dataclasses.replace(TINY, resolution=16)},
        {"references": [middle_network(dataclasses.replace(TINY, stem=8))]},
    ):
        device = SyntheticDevice()
        build(folder, device, **options)
        assert device.loads, options
    assert len(list(folder.glob("*.json"))) == 3


def test_raw_times_of_all_parts_and_networks_lie_beside_the_table(table, exact):
    (path,) = exact.glob("*.raw.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keys = {key for line in lines for key in line.get("keys", [])}
    assert keys >= {*table.entries, *(network.spec.to_json() for network in table.networks)}
    assert lines[0]["plan"]["device"] == "adder"
    assert all(len(times) == 2 for line in lines[1:] for times in line.get("times", []))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fields: "{", "not JSON"),
        (lambda fields: "[]", r"the content is \[\], it must be a JSON object"),
        (lambda fields: json.dumps({"format": "mnasnet-arch"}), "format is 'mnasnet-arch'"),
        (lambda fields: json.dumps(fields | {"version": 1}), "version is 1, expected 2"),
        (lambda fields: json.dumps(fields | {"unit": "s"}), "unit is 's'"),
        (lambda fields: json.dumps(fields | {"fingerprint": {}}), "fingerprint lacks backend"),
        (
            lambda fields: json.dumps(fields | {"correction": BROKEN_CORRECTION | {"form": 1}}),
            "correction.form is 1",
        ),
        (lambda fields: json.dumps(fields | {"networks": [{}]}), r"networks\[1\].spec is missing"),
        (
            lambda fields: json.dumps(fields | {"correction": BROKEN_CORRECTION}),
            "correction.weights.later is None, it must be a finite number",
        ),
        (
            lambda fields: json.dumps(fields | {"validation": BROKEN_VALIDATION}),
            "validation.sessions is 'a', it must be a whole number",
        ),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0, -2.0]}}), "entries.a is -2 ms"),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0]}}), "it must be a list of 2"),
        (lambda fields: json.dumps(fields)[:-100], "not JSON"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(folder, change, reason):
    (path,) = folder.glob("*.json")
    path.write_text(change(json.loads(path.read_text())))
    for read in (lambda: LatencyTable.read(path), lambda: build(folder)):
        with pytest.raises(UserError, match=reason) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the latency table .*none\.json"):
        LatencyTable.read(tmp_path / "none.json")


class Interrupted(SyntheticDevice):
    """Ends after as many visits."""

    def __init__(self, visits):
        super().__init__(noise=0.02)
        self.left = visits

    def visit(self, order):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().visit(order)


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path):
    whole = SyntheticDevice()
    build(tmp_path / "whole", whole)
    visits = 0
    for left in (7, 100, 1):
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "parts", Interrupted(left))
        visits += left
        assert list((tmp_path / "parts").glob("*.json")) == []
    last = SyntheticDevice()
    build(tmp_path / "parts", last)
    assert visits + len(last.orders) == len(whole.orders)
    (one,), (other,) = ((tmp_path / name).glob("*.json") for name in ("whole", "parts"))
    assert one.name == other.name


def rounds_of(path):
    return [line for line in path.read_bytes().splitlines(keepends=True) if b'"times"' in line]


def test_a_line_that_a_kill_cut_short_is_measured_again(folder):
    (path,), (table,) = folder.glob("*.raw.jsonl"), folder.glob("*.json")
    before = rounds_of(path)
    *lines, last, finished = path.read_bytes().splitlines(keepends=True)
    assert b'"finished"' in finished
    path.write_bytes(b"".join([*lines, last[:-10]]))
    table.unlink()
    device = SyntheticDevice()
    build(folder, device)
    assert len(device.orders) == 1
    after = rounds_of(path)
    assert after[:-1] == before[:-1]
    assert len(after) == len(before)


def test_broken_raw_times_are_refused_in_one_line(folder):
    (path,), (table,) = folder.glob("*.raw.jsonl"), folder.glob("*.json")
    table.unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"{}[]\n", *lines[5:]]))
    with pytest.raises(
        UserError, match=r"line 5 of .*jsonl: not JSON; name a latency table, or another"
    ):
        build(folder)
    path.write_bytes(b'{"format": "none"}\n')
    with pytest.raises(UserError, match=r"line 1 of .*: these are no times of this version"):
        build(folder)


def test_raw_times_of_another_build_are_refused_by_name(tmp_path):
    tried = Rounds(tmp_path / "raw.jsonl", {"device": "none", "space": 1})
    tried.__exit__()  # with nothing measured, it is nobody's
    with Rounds(tmp_path / "raw.jsonl", {"device": "one", "space": 1}) as rounds:
        rounds.finish("networks")
    with pytest.raises(UserError, match=r'build with another device: "one", not "two"'):
        Rounds(tmp_path / "raw.jsonl", {"device": "two", "space": 1})


def test_a_search_that_meets_another_one_measuring_is_told_what_it_can_do(tmp_path):
    class Busy(SyntheticDevice):
        def load(self, subjects):
            table_for(TINY, [], tmp_path, machine=SyntheticDevice)

    with pytest.raises(UserError, match="wait for it, or name a latency table, or another folder"):
        table_for(TINY, [], tmp_path, progress=False, machine=Busy)


def test_two_builds_never_write_into_one_file(tmp_path):
    path = tmp_path / "raw.jsonl"
    with (
        Rounds(path, {}),
        pytest.raises(UserError, match=r"another process is measuring into .*raw\.jsonl"),
    ):
        Rounds(path, {})
    with Rounds(path, {}):
        pass


KILLED = """
import os, signal
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.this_machine import table_for
from supernet.space.mnasnet import MnasSpace

class Killed(OnnxRuntime):
    visits = 0

    def visit(self, order):
        Killed.visits += 1
        if Killed.visits == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().visit(order)

table_for(MnasSpace(base_filters=(8, 8), base_layers=(1, 1), strides=(1, 2), resolution=8, head=8,
                    ops=("sepconv",), skips=("none",), classes=2), [], FOLDER, machine=Killed)
"""


def test_a_killed_build_keeps_its_rounds(tmp_path):
    script = KILLED.replace("FOLDER", repr(str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    for rounds in (2, 4):
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        (path,) = tmp_path.iterdir()
        assert len(rounds_of(path)) == rounds
