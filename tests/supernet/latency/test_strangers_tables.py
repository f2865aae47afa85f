"""A stranger's table: lies are refused, nothing is run, no folder of the user's is lost."""

import json
import math

import pytest

from supernet.errors import UserError
from supernet.files.json_text import checksum_of
from supernet.latency.__main__ import main
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.opening import device_of_table
from supernet.latency.models.model_files import MARK, ModelFiles
from supernet.latency.table.plan import middle_network
from supernet.latency.table.rounds import Rounds
from supernet.latency.table.table import LatencyTable
from tests.helpers.synthetic_device import TINY

FEW = ["--networks", "2", "--sessions", "1", "--rounds", "3"]


@pytest.fixture(scope="module")
def sound(exact):
    """Fields of the exact table of TINY."""
    (path,) = exact.glob("*.json")
    return path.read_text()


@pytest.fixture
def write(sound, tmp_path):
    """Write the table with a change to its fields, under a checksum that fits, and return it."""

    def written(change=lambda fields: None):
        fields = json.loads(sound)
        change(fields)
        if "checksum" in fields:
            fields["checksum"] = checksum_of(fields)
        path = tmp_path / "table.json"
        path.write_text(json.dumps(fields))
        return path

    return written


def first_entry(fields):
    return next(iter(fields["entries"]))


LIES = {
    "entries": (lambda f: f["entries"].update({first_entry(f): [1e30, 1e30]}), "is 1e+30 ms, w"),
    "short": (lambda f: f["entries"].update({first_entry(f): [1e-12, 0.1]}), "is 1e-12 ms, which"),
    "none": (lambda f: f.update(entries={}), "entries are empty"),
    "device": (lambda f: f["fingerprint"].update(device=["cpu", "gpu"]), "fingerprint.device is ["),
    "escape": (lambda f: f["fingerprint"].update(device="\x1b[2J"), "without control characters"),
    "threads": (lambda f: f["fingerprint"].update(threads=10**9), "fingerprint.threads is 1000000"),
    "settings": (lambda f: f["fingerprint"].update(settings=[]), "fingerprint.settings is []"),
    "space": (lambda f: f["fingerprint"]["space"].update(width=-1), "space.width is -1.0"),
    "form": (lambda f: f["correction"].update(form="cubic"), "correction.form is 'cubic', allowed"),
    "mape": (lambda f: f["validation"]["predicted"].update(mape=-0.1), "mape is -0.1, it must be"),
    "within": (lambda f: f["validation"]["noise"].update(within_5=2.0), "within_5 is 2.0, it must"),
    "tau": (lambda f: f["validation"]["predicted"].update(kendall_tau=3.0), "kendall_tau is 3.0"),
    "sessions": (lambda f: f["validation"].update(least_sessions=99), "least_sessions is 99, it"),
    "reference": (lambda f: f.update(reference_ms=1e9), "reference_ms is 1e+09 ms, which no run"),
    "log": (lambda f: f["networks"][0].update(log_ms=[700.0]), "networks.log_ms is 700, the log"),
    "judged": (lambda f: f["validation"]["predicted"].update(bias=0.5), "bias is 0.5, but the net"),
    "number": (lambda f: f["validation"].update(networks=99), "validation.networks is 99, but 16"),
    "extra": (lambda f: f.update(command="sh"), "unknown field 'command'"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_by_name(write, lie):
    change, reason = LIES[lie]
    path = write(change)
    with pytest.raises(UserError) as refused:
        LatencyTable.read(path)
    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"{path} is no latency table")


def test_what_nothing_else_tells_is_kept_by_the_checksum(write, sound):
    table = LatencyTable.read(write())
    fields = json.loads(sound)
    fields["fingerprint"]["device"] = "another"
    path = write()
    path.write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"checksum is .* the file was changed after it was meas"):
        LatencyTable.read(path)
    del fields["checksum"]
    path.write_text(json.dumps(fields))
    assert LatencyTable.read(path).device.startswith("another")
    assert LatencyTable.read(write(lambda fields: fields.pop("checksum"))) == table


def test_a_share_that_no_layer_takes_is_refused_when_it_predicts(write):
    def change(fields):
        fields["correction"]["weights"] = dict.fromkeys(fields["correction"]["weights"], 1e30)
        fields["networks"] = []

    table = LatencyTable.read(write(change))
    with pytest.raises(UserError, match=r"share of .* ms, which no run takes"):
        table.predict(middle_network(TINY))


# --- programs ---------------------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path):
    """What a program of a stranger's would make."""
    return tmp_path / "MARKER"


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in arguments])
    assert leaving.value.code == 2
    return capsys.readouterr().err


def test_no_command_of_a_table_is_run(write, marker, capsys):
    settings = {"name": "command", "runner": f"sh -c 'touch {marker}; echo 0.1' sh {{model}}"}
    path = write(lambda fields: fields["fingerprint"].update(settings=settings, backend="command"))
    line = refusal(capsys, "validate", path, *FEW)
    assert "fingerprint.settings.runner is \"sh -c 'touch" in line
    assert "no file chooses a program, a device or a time limit: give --runner yourself" in line
    main(["show", str(path)])
    assert not marker.exists()
    mine = path.with_name("mine.sh")
    mine.write_text("#!/bin/sh\necho 0.1\n")
    mine.chmod(0o755)
    # The user's own runs instead, to its end: on so few sessions nothing can be claimed.
    main(["validate", str(path), *FEW, "--runner", str(mine)])
    assert not marker.exists()


# --- folders ----------------------------------------------------------------------------------


def test_a_folder_of_the_users_is_left_as_it_was(write, capsys):
    path = write()
    own = path.with_suffix(".models")
    own.mkdir()
    (own / "PRECIOUS").write_text("mine")
    with device_of_table(Backend(), path):
        pass
    assert (own / "PRECIOUS").read_text() == "mine"
    with (
        pytest.raises(UserError, match=r"models was not made by this program.* move it away"),
        device_of_table(Backend("command", runner="true"), path),
    ):
        pass
    assert [one.name for one in own.iterdir()] == ["PRECIOUS"]


def test_a_folder_that_was_made_here_goes_but_for_what_the_user_put_there(write, tmp_path):
    path = write()
    folder = path.with_suffix(".models")
    layer = middle_network(TINY)
    with device_of_table(Backend("command", runner="true"), path):
        ModelFiles(folder, "onnx").path(layer)
        assert (folder / MARK).is_file()
    assert not folder.exists()
    with device_of_table(Backend("command", runner="true"), path):
        ModelFiles(folder, "onnx").path(layer)
        (folder / "notes.txt").write_text("mine")
    assert [one.name for one in folder.iterdir()] == ["notes.txt"]


def test_a_link_to_a_folder_is_not_followed(write, tmp_path):
    path, target = write(), tmp_path / "target"
    target.mkdir()
    (target / MARK).touch()
    (target / "network_0.fp32.onnx").write_text("mine")
    path.with_suffix(".models").symlink_to(target)
    with device_of_table(Backend(), path):
        pass
    assert (target / "network_0.fp32.onnx").exists()
    with pytest.raises(UserError, match="was not made by this program"):
        ModelFiles(path.with_suffix(".models"), "onnx")


@pytest.mark.parametrize("content", ["a line without an end", '{"format":"other', "\n", "a\nb\n"])
def test_another_programs_file_in_the_place_of_raw_times_is_left_as_it_was(tmp_path, content):
    path = tmp_path / "table.raw.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"name another --out, or move"):
        Rounds(path, {})
    assert path.read_text() == content


def test_a_header_that_a_kill_cut_short_is_written_again(tmp_path):
    path = tmp_path / "table.raw.jsonl"
    Rounds(path, {"a": math.pi}).__exit__()
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    Rounds(path, {"a": math.pi}).__exit__()
    assert path.read_bytes() == whole
