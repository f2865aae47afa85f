"""Latency measured on the machine that runs the tests: what comes out, never how fast."""

import dataclasses
import os
import subprocess
import sys

import pytest

from supernet.errors import UserError
from supernet.latency.devices import measuring_process
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.models.subject import NetworkFile
from supernet.latency.table.bench import LAYERS, NETWORKS
from supernet.latency.table.plan import middle_network
from supernet.latency.this_machine import measure_onnx, measure_specs, table_for
from supernet.space.published import published_spec
from tests.helpers.synthetic_device import TINY

MODULE = "supernet.latency.devices.measuring_process"


def test_this_machine_builds_a_table_of_a_small_space(tmp_path):
    space = dataclasses.replace(TINY, ops=("mbconv3",), kernels=(3,), ses=(0.0,), head=16)
    spec = middle_network(space)
    table = table_for(space, [spec], tmp_path, progress=False)
    assert table.predict(spec) > 0
    assert table.validation.networks >= 5
    assert all(len(times) == 2 and min(times) > 0 for times in table.entries.values())


def test_networks_are_measured_in_the_order_they_come():
    small = published_spec("mnasnet_small").scaled(resolution=32, classes=10)
    large = published_spec("mnasnet_a1").scaled(resolution=32, classes=10)
    first, second, third = measure_specs([large, small, large], sessions=1, rounds=3)
    assert first == third
    assert min(first, second) > 0
    assert measure_specs([]) == []


def test_a_file_that_is_no_network_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(UserError, match=r"there is no file .*net\.onnx"):
        measure_onnx(path, 32)
    path.write_bytes(b"no network")
    with pytest.raises(UserError, match="measuring process") as caught:
        measure_onnx(path, 32)
    assert "\n" not in str(caught.value)


def test_a_network_file_is_measured(tmp_path):
    from supernet.latency.models.onnx_graph import network_model

    path = tmp_path / "net.onnx"
    path.write_bytes(network_model(middle_network(TINY)).SerializeToString())
    assert measure_onnx(path, TINY.resolution, sessions=1, rounds=3) > 0


def test_a_measuring_process_that_dies_is_reported():
    with OnnxRuntime() as device:
        device.child.kill()
        device.child.wait()
        with pytest.raises(UserError, match="ended with status -9: killed from outside"):
            device.load([middle_network(TINY)])


def test_the_measuring_process_ends_with_its_parent():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", MODULE, "onnxruntime", "1"]
    done = subprocess.run(command, input=b"", env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_subjects_are_told_apart_by_what_they_hold(tmp_path):
    assert NetworkFile(tmp_path / "a.onnx", 32).key != NetworkFile(tmp_path / "b.onnx", 32).key
    assert NETWORKS.group_size < LAYERS.group_size


@pytest.mark.parametrize(("ticks", "ms"), [([0, 0, 5, 5, 5, 9_005], 0.009), ([7] * 200, 0.0)])
def test_a_run_by_a_clock_that_stands_still_is_repeated(ticks, ms, monkeypatch):
    ticks = iter(ticks)
    monkeypatch.setattr(measuring_process.time, "thread_time_ns", lambda: next(ticks))
    assert measuring_process.cpu_timer(1)(lambda: None) == ms
