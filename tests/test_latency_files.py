"""Files of latency tables: kept, loaded, refused when broken, and what a killed build leaves."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.latency.build import FULL, middle
from supernet.latency.cache import table_for
from supernet.latency.table import LatencyTable
from tests.synthetic_device import TINY, SyntheticDevice, build, refuse


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder with the exact table of TINY."""
    folder = tmp_path_factory.mktemp("tables")
    build(folder)
    return folder


@pytest.fixture
def folder(cache, tmp_path):
    """A copy of that folder, to spoil."""
    return shutil.copytree(cache, tmp_path / "tables")


@pytest.fixture
def table(cache):
    return table_for(TINY, [], cache, machine=refuse)


def test_a_saved_table_loads_as_it_was(table, tmp_path):
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json")
    assert loaded == table
    assert loaded.hash == table.hash
    assert len(table.hash) == 64
    assert "onnxruntime" in loaded.device


def test_the_hash_tells_tables_apart(table):
    key = next(iter(table.entries))
    other = dataclasses.replace(table, entries={**table.entries, key: (1.0, 2.0)})
    assert other.hash != table.hash


def test_a_table_is_measured_once_for_a_space_and_its_references(table, folder):
    assert table_for(TINY, [], folder, machine=refuse) == table
    for options in (
        {"space": dataclasses.replace(TINY, resolution=16)},
        {"references": [middle(dataclasses.replace(TINY, stem=8))]},
        {"quick": False},
    ):
        device = SyntheticDevice()
        build(folder, device, **options)
        assert device.loads, options
    assert len(list(folder.glob("*.json"))) == 4


def test_a_full_table_also_serves_quick_calls(tmp_path):
    table = build(tmp_path, quick=False)
    assert table.fingerprint["effort"]["passes"] == FULL.passes
    assert table_for(TINY, [], tmp_path, machine=refuse) == table


def test_raw_times_of_all_parts_and_networks_lie_beside_the_table(table, cache):
    (path,) = cache.glob("*.npz")
    with np.load(path) as raw:
        keys = {key for name in raw.files if name.startswith("keys") for key in raw[name]}
        assert keys >= set(table.entries)
        assert raw["times_0"].ndim == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fields: "{", "its content is broken"),
        (lambda fields: "[]", "its content is broken"),
        (lambda fields: json.dumps({"format": "mnasnet-arch"}), "format is 'mnasnet-arch'"),
        (lambda fields: json.dumps(fields | {"version": 2}), "version is 2, expected 1"),
        (lambda fields: json.dumps(fields | {"unit": "s"}), "unit is 's'"),
        (lambda fields: json.dumps(fields | {"fingerprint": {}}), "fingerprint lacks cpu"),
        (lambda fields: json.dumps(fields | {"calibration": {"first": 1}}), "content is broken"),
        (lambda fields: json.dumps(fields | {"calibration": {"first": "a"}}), "content is broken"),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0, -2.0]}}), "times of a are"),
        (lambda fields: json.dumps(fields | {"entries": {"a": [1.0]}}), "its content is broken"),
        (lambda fields: json.dumps(fields)[:-100], "its content is broken"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(folder, change, reason):
    (path,) = folder.glob("*.json")
    path.write_text(change(json.loads(path.read_text())))
    for read in (lambda: LatencyTable.load(path), lambda: build(folder)):
        with pytest.raises(UserError, match=reason) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the latency table .*none\.json"):
        LatencyTable.load(tmp_path / "none.json")


def test_an_interrupted_build_leaves_no_file(tmp_path):
    class Interrupted(SyntheticDevice):
        def visit(self, order, runs):
            if len(self.orders) == 20:
                raise KeyboardInterrupt
            return super().visit(order, runs)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted())
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal
from supernet.latency.device import ThisMachine
from supernet.latency.cache import table_for
from supernet.space import MnasSpace

class Killed(ThisMachine):
    visits = 0

    def visit(self, order, runs):
        Killed.visits += 1
        if Killed.visits == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().visit(order, runs)

table_for(MnasSpace(base_filters=(8, 8), base_layers=(1, 1), strides=(1, 2), resolution=8, head=8,
                    ops=("sepconv",), skips=("none",), classes=2), [], FOLDER, machine=Killed)
"""


def test_a_killed_build_leaves_no_file(tmp_path):
    script = KILLED.replace("FOLDER", repr(str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []
