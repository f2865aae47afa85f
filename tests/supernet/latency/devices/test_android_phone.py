"""The backend adb against a scripted adb that replays true outputs and every failure."""

import json
import stat
import sys
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.latency.__main__ import main
from supernet.latency.devices.android_phone import FOLDER
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.opening import open_device
from supernet.latency.models.model_files import MARK
from supernet.latency.table.plan import EFFORTS, Effort, middle_network
from supernet.latency.table.table import LatencyTable
from tests.helpers.tables import TINY as SPACE

FAKE_ADB = Path(__file__).parents[3] / "helpers" / "fake_adb.py"

LITERT = """INFO: Initialized TensorFlow Lite runtime.
INFO: The input model file size (MB): 4.87
INFO: count=50 first=31500 curr=30900 min=30718 max=36410 avg=31118.1 std=1323
INFO: Inference timings in us: Init: 21432, First inference: 91020, Warmup (avg): 60125.5, \
Inference (avg): MS000"""
EXECUTORCH = """I 00:00:00.013 executorch:executor_runner.cpp:82] Model file net.pte is loaded.
I 00:00:00.513 executorch:executor_runner.cpp:310] Model executed successfully 2 time(s) in MS ms.
"""
ONNXRUNTIME = """Setting intra_op_num_threads to 1
Session creation time cost: 0.217932 s
First inference time cost: 196 ms
Total inference requests: 50
Average inference time cost: 98.961997 ms
Min Latency: 0.0095 s
P50 Latency: MS s
P90 Latency: 0.1 s"""
READY = {"emulator-5554": "device"}
PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 9",
    "ro.board.platform": "zumapro",
    "ro.build.version.release": "16",
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a scripted adb on PATH and returns what writes its settings."""
    folder, programs = tmp_path / "phone", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    adb = programs / "adb"
    script = FAKE_ADB.read_text().splitlines(keepends=True)
    adb.write_text(f"#!{sys.executable}\n" + "".join(script[1:]))
    adb.chmod(adb.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("ADB_FAKE", str(folder))
    (tmp_path / "runner").write_bytes(b"a program for the phone")

    def settings(**changes):
        fields = {"devices": READY, "output": "MS", "properties": PROPERTIES, **changes}
        (folder / "settings.json").write_text(json.dumps(fields))
        (folder / "calls.txt").unlink(missing_ok=True)

    settings()
    return settings


def calls(tmp_path):
    return [
        json.loads(line) for line in (tmp_path / "phone" / "calls.txt").read_text().splitlines()
    ]


def timed(device):
    device.load([middle_network(SPACE)])
    return device.visit([0])


def phone(tmp_path, **changes):
    settings = {"name": "adb", "runner": str(tmp_path / "runner"), "timeout": 20.0, **changes}
    return open_device(Backend(**settings), tmp_path / "models")


def test_a_phone_says_what_it_is(fake, tmp_path):
    with phone(tmp_path, cores="f0") as device:
        found = device.description()
    assert found["device"] == "Google Pixel 9 zumapro Android 16 on cores f0"
    assert found["runtime"].startswith("runner ")
    assert found["runtime"].endswith("of onnx files")


@pytest.mark.parametrize(
    ("output", "factor"),
    [(LITERT, 1.0), (EXECUTORCH, 0.5), (ONNXRUNTIME, 1e3), ("MS MS MS", 1.0), ("MS ms", 1.0)],
)
def test_what_each_program_prints_is_read(fake, tmp_path, output, factor):
    output = output.replace("MS000", "1234.5") if "MS000" in output else output
    fake(output=output)
    with phone(tmp_path) as device:
        device.load([middle_network(SPACE)])
        ((ms,),) = device.visit([0])
        (path,) = (one for one in (tmp_path / "models").iterdir() if one.name != MARK)
    expected = 1.2345 if output.startswith("INFO") else factor * path.stat().st_size / 1e4
    assert ms == pytest.approx(expected, rel=1e-3)


def test_the_program_and_the_models_are_pushed_run_on_chosen_cores_and_removed(fake, tmp_path):
    with phone(tmp_path, cores="70", threads=2) as device:
        device.load([middle_network(SPACE)])
        device.visit([0, 0])
    words = [" ".join(call) for call in calls(tmp_path)]
    assert words[0] == "devices"
    assert any(f"push {tmp_path}/runner {FOLDER}/runner" in line for line in words)
    runs = [line for line in words if "taskset 70" in line]
    assert len(runs) == 2
    assert (
        f"taskset 70 {FOLDER}/runner -e cpu -I -m times -r 50 -x 2 -y 1 {FOLDER}/models/" in runs[0]
    )
    assert words[-1].endswith(f"shell rm -rf {FOLDER}")
    assert all(line.startswith("-s emulator-5554 ") for line in words[1:])


def test_an_adb_server_that_was_started_is_stopped(fake, tmp_path):
    fake(starts_server=True)
    with phone(tmp_path):
        pass
    assert calls(tmp_path)[-1] == ["kill-server"]
    fake(starts_server=True, devices={})
    with pytest.raises(UserError, match="finds no phone"):
        phone(tmp_path)
    assert calls(tmp_path)[-1] == ["kill-server"]


@pytest.mark.parametrize(
    ("devices", "serial", "reason"),
    [
        ({}, "", "adb finds no phone: plug one in, turn on USB debugging"),
        ({"a": "unauthorized"}, "", "the phone a is unauthorized: allow USB debugging"),
        ({"a": "offline"}, "", "the phone a is offline: unplug it"),
        ({"a": "no permissions (user in plugdev group; see [http://x])"}, "", "udev rules"),
        ({"a": "recovery"}, "", "the phone a is recovery: start it as usual"),
        ({"a": "device", "b": "device"}, "", r"2 phones, a \(device\), b \(device\): give one"),
        ({"a": "device"}, "b", r"no phone b, but a \(device\): give one as --device"),
    ],
)
def test_a_phone_that_is_not_ready_is_refused_in_one_line(fake, tmp_path, devices, serial, reason):
    fake(devices=devices)
    with pytest.raises(UserError, match=reason) as caught:
        phone(tmp_path, device=serial)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"fail": "lost", "after": 1}, r"lost the phone emulator-5554 \(error: closed\)"),
        ({"fail": "cut short", "after": 1}, r"lost the phone .*Initialized TensorFlow Lite"),
        ({"fail": "crashed", "after": 1}, "ended with status 139: Segmentation fault"),
        ({"fail": "hangs", "after": 1}, r"gave no answer within 0\.5 s"),
        ({"output": "all is well"}, "runner on the phone printed no time: .*'all is well'"),
        ({"output": "0.0"}, "runner on the phone printed 0 ms: every time must be above 0"),
        ({"output": ""}, "printed no time: its last line is 'nothing'"),
    ],
)
def test_a_phone_that_fails_on_the_way_ends_in_one_line(fake, tmp_path, settings, reason):
    fake(**settings)
    timeout = 0.5 if settings.get("fail") == "hangs" else 20.0
    with pytest.raises(UserError, match=reason) as caught:
        timed(phone(tmp_path, timeout=timeout))
    assert "\n" not in str(caught.value)


def test_without_adb_or_the_program_the_way_out_is_named(fake, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="none is no file: name the program for the phone"):
        phone(tmp_path, runner=str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install Android's platform tools"):
        phone(tmp_path)


@pytest.mark.slow
def test_a_table_of_a_phone_is_built_over_a_disconnect(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(EFFORTS, "quick", Effort(0.1, 1, 2, 8, 4, 60))
    space = tmp_path / "space.yaml"
    space.write_text(
        "{ops: [sepconv], kernels: [3], ses: [0.0], skips: [none, pool], filters: [1.0, 2.0],"
        " layers: [0, 1], base_filters: [8, 16], base_layers: [1, 1], strides: [1, 2],"
        " resolution: 8, head: 8, stem: 8, classes: 2}"
    )
    words = [
        "build",
        "--space",
        str(space),
        "--out",
        str(tmp_path / "phone.json"),
        "--quick",
        "--backend",
        "adb",
        "--runner",
        str(tmp_path / "runner"),
        "--device",
        "emulator-5554",
    ]
    fake(fail="lost", after=60)
    with pytest.raises(SystemExit):
        main(words)
    assert (
        "plug it in again and unlock it, then the same command goes on" in capsys.readouterr().err
    )
    kept = (tmp_path / "phone.raw.jsonl").read_text().count('"times"')
    assert kept >= 1
    fake()
    main(words)
    table = LatencyTable.read(tmp_path / "phone.json")
    assert table.device.startswith("Google Pixel 9 zumapro Android 16, runner ")
    assert table.fingerprint["settings"] == {"name": "adb"}
    assert table.predict(middle_network(table.space)) > 0
    assert not (tmp_path / "phone.models").exists()
