"""``python -m supernet.latency build | validate | show``, on this machine and a tiny space."""

import dataclasses
import json
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.latency.__main__ import main
from supernet.latency.build import forecast_seconds
from supernet.latency.table.bench import LAYERS
from supernet.latency.table.plan import EFFORTS, Effort, plan_measurements
from supernet.latency.table.rounds import Round, Rounds
from supernet.latency.table.table import LatencyTable
from supernet.latency.validate import Amount, validate_table
from supernet.space.mnasnet import read_space
from tests.helpers.documented import undocumented
from tests.helpers.quick_build import SPACE, words
from tests.helpers.synthetic_device import TINY, SyntheticDevice
from tests.helpers.synthetic_device import build as synthetic

ROOT = Path(__file__).parents[3]
BRIEF = Effort(0.5, part_sessions=1, network_sessions=2, calibration=10, held_out=6, rounds=4)


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setitem(EFFORTS, "quick", BRIEF)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with space.yaml, table.json and its raw times."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "space.yaml").write_text(SPACE)
    patch = pytest.MonkeyPatch()
    patch.setitem(EFFORTS, "quick", BRIEF)
    main(words(folder))
    patch.undo()
    return folder


@pytest.fixture
def folder(built, tmp_path):
    """A copy of it, to spoil."""
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_time_that_no_run_takes_is_not_kept(tmp_path):
    path = tmp_path / "raw.jsonl"
    with (
        Rounds(path, {}, "") as rounds,
        pytest.raises(UserError, match="a measured time is 0 ms, which no run takes"),
    ):
        rounds.add("parts 0.0", ["a"], Round([[0.5, 0.4]], [[1.0, 0.0]], 0.1, 0.1))
    assert path.read_bytes() == b""


def refusal(capsys, *arguments):
    """The one line with which a command is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in arguments])
    assert leaving.value.code == 2
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")
    ]
    assert line.startswith("error: ")
    return line


# --- build ------------------------------------------------------------------------------------


def test_a_table_says_what_was_measured_on_what(built):
    table = LatencyTable.read(built / "table.json")
    found = table.fingerprint
    assert found["backend"] == "onnxruntime"
    assert found["settings"] == {"name": "onnxruntime"}
    assert found["space"]["resolution"] == 8
    assert found["effort"] == dataclasses.asdict(BRIEF)
    assert len(found["date"]) == 10
    assert table.reference_ms > 0
    assert table.validation.networks == 6
    assert table.validation.sessions == 2
    assert set(table.validation.baselines) == {"isolated sum", "macs", "linear one-hot"}
    assert len(table.measured("reference")) == 4
    table.check_covers(read_space(built / "space.yaml"))


def test_what_a_build_will_take_follows_from_the_groups_that_are_finished():
    plan = plan_measurements(TINY, [], dataclasses.replace(BRIEF, seconds=100.0))
    rounds = Rounds()
    assert forecast_seconds(rounds, plan) == pytest.approx(100.0)
    one = Round([[1.0]], [[1.0]], 30.0, 10.0)
    rounds.add("parts 0.0", [], one)
    assert forecast_seconds(rounds, plan) == pytest.approx(100.0), "it is not finished"
    rounds.finish("parts 0.0")
    groups = -(-len(plan.layers) // LAYERS.group_size)
    assert forecast_seconds(rounds, plan) == pytest.approx(50.0 + 40.0 * groups)


def test_options_replace_what_data_decide(built, tmp_path, capsys):
    options = ["--resolution", "12", "--classes", "3", "--stem_stride", "2"]
    main([*words(built)[:3], "--out", str(tmp_path / "other.json"), "--quick", *options])
    space = LatencyTable.read(tmp_path / "other.json").fingerprint["space"]
    assert (space["resolution"], space["classes"], space["stem_stride"]) == (12, 3, 2)
    out = capsys.readouterr().out
    assert "noise alone" in out
    assert "6 networks, 2 sessions, of which at least" in out


def test_a_finished_build_is_not_repeated(folder, capsys):
    before = (folder / "table.json").read_bytes()
    start = (folder / "table.raw.jsonl").read_bytes()
    main(words(folder))
    assert (folder / "table.json").read_bytes() == before
    assert (folder / "table.raw.jsonl").read_bytes() == start
    line = refusal(capsys, *words(folder, "--classes", "3"))
    assert "table.json is a table with another space: name another --out, or remove it" in line


def test_a_table_that_was_lost_is_made_again_from_its_raw_times(folder):
    before = LatencyTable.read(folder / "table.json")
    (folder / "table.json").unlink()
    raw = (folder / "table.raw.jsonl").read_bytes()
    main(words(folder))
    again = LatencyTable.read(folder / "table.json")
    assert (folder / "table.raw.jsonl").read_bytes() == raw
    assert again.entries == before.entries
    assert again.correction == before.correction


def test_raw_times_of_other_settings_are_refused(folder, capsys):
    (folder / "table.json").unlink()
    line = refusal(capsys, *words(folder, "--precision", "int8"))
    assert 'it is of a build with another precision: "fp32", not "int8"' in line
    assert "name another --out, or move the file away to measure anew" in line


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--backend", "tpu"], "backend is 'tpu', allowed are onnxruntime, torch"),
        (["--threads", "0"], "--threads is 0"),
        (["--resolution", "a"], "'a' is not a whole number of at least 1"),
        (["--out", "table.txt"], "--out table.txt: the name must end in .json"),
        (["--space", "none.yaml"], "--space: none.yaml is no file, and no config of that name"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_build_that_cannot_be_is_refused_in_one_line(built, capsys, more, reason):
    assert reason in refusal(capsys, *words(built), *more)


# --- validate ---------------------------------------------------------------------------------

FEW = ["--networks", "6", "--sessions", "2", "--rounds", "3"]


def test_fresh_networks_are_measured_and_written_beside_the_table(folder, capsys):
    capsys.readouterr()
    main(["validate", str(folder / "table.json"), *FEW])
    out = capsys.readouterr().out
    assert "networks that calibrated the table take" in out
    assert "6 networks, " in out
    report = json.loads((folder / "table.validation-1.json").read_text())
    table = LatencyTable.read(folder / "table.json")
    assert report["table"] == table.hash
    assert undocumented(folder / "table.json", "Latency table") == set()
    kind = "NAME.validation-SEED.json"
    assert undocumented(folder / "table.validation-1.json", kind) == set()
    seen = {network.spec.to_json() for network in table.networks}
    fresh = [json.dumps(row["spec"]) for row in report["networks"]]
    assert len(fresh) == 6
    assert not seen & set(fresh)
    assert report["validation"]["predicted"]["mape"] > 0
    raw = (folder / "table.validation-1.raw.jsonl").read_bytes()
    capsys.readouterr()
    main(["validate", str(folder / "table.json"), *FEW])
    assert "nothing was measured anew: " in capsys.readouterr().out
    assert (folder / "table.validation-1.raw.jsonl").read_bytes() == raw
    more = ["--networks", "7", "--sessions", "2", "--rounds", "3"]
    line = refusal(capsys, "validate", folder / "table.json", *more)
    assert "of a build with another networks: [16," in line
    assert "; give another --seed, or move the file away" in line


def test_claims_finer_than_the_noise_are_refused(folder, capsys):
    line = refusal(capsys, "validate", folder / "table.json", *FEW, "--claim", "1e-6")
    reasons = ("a claim rests on at least 4 of each", "the machine's speed has changed by")
    assert any(reason in line for reason in reasons)


def test_a_machine_that_has_slowed_down_is_told_apart_from_a_wrong_table(exact, tmp_path):
    """The anchors take out what all networks have in common."""
    table = synthetic(exact)
    device = SyntheticDevice()
    device.slowness = 1.1
    amount = Amount(networks=8, sessions=4, rounds=4, seed=1)
    outcome = validate_table(device, table, tmp_path / "table.json", amount, strict=False)
    assert outcome.drift == pytest.approx(0.1, abs=1e-4)
    assert outcome.validation.predicted.bias == pytest.approx(0.0, abs=1e-4)
    assert outcome.objection == ""
    device.slowness = 1.3
    outcome = validate_table(device, table, tmp_path / "other.json", amount, strict=False)
    assert "the machine's speed has changed by +30.0%" in outcome.objection


@pytest.fixture
def foreign(folder):
    """The table of another device and runtime."""
    path = folder / "table.json"
    fields = json.loads(path.read_text())
    fields["fingerprint"] |= {"device": "a phone", "runtime": "onnxruntime 0"}
    del fields["checksum"]
    path.write_text(json.dumps(fields))
    return path


def test_a_table_of_another_device_is_warned_of_and_refused_if_strict(foreign, capsys):
    main(["validate", str(foreign), *FEW])
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the table is of another device and runtime: it holds for")
    assert "a phone, onnxruntime 0, 1 thread, this is " in warning
    line = refusal(capsys, "validate", foreign, *FEW, "--claim", "99")
    assert "it holds for a phone" in line
    line = refusal(capsys, "validate", foreign, *FEW, "--strict")
    assert "it holds for a phone, onnxruntime 0, 1 thread, this is" in line
    assert "leave out --strict" in line


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: text.replace('"reference_ms": ', '"reference_ms": -'), "reference_ms is -"),
        (lambda text: text.replace('": [0.', '": [-0.', 1), "which no run takes: it"),
        (lambda text: "", "not JSON"),
    ],
)
@pytest.mark.parametrize("command", ["show", "validate"])
def test_a_broken_table_is_refused_in_one_line(folder, capsys, command, spoil, reason):
    path = folder / "table.json"
    path.write_text(spoil(path.read_text()))
    assert reason in refusal(capsys, command, path)


def test_more_networks_than_there_are_cannot_be_measured(folder, capsys):
    line = refusal(capsys, "validate", folder / "table.json", "--networks", 100000)
    assert "networks that the table has not seen: lower --networks 100000" in line
    assert "--sessions is 0" in refusal(
        capsys, "validate", folder / "table.json", "--sessions", "0"
    )


# --- show -------------------------------------------------------------------------------------


def test_a_table_is_printed_and_drawn(folder, capsys):
    capsys.readouterr()
    main(["show", str(folder / "table.json"), "--plot", str(folder / "table.png")])
    out = capsys.readouterr().out
    for word in ("onnxruntime", "8 px, 2 classes", "correction", "cross-validation", "noise alone"):
        assert word in out
    assert (folder / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_drawing_needs_a_name_that_ends_in_png(folder, capsys):
    line = refusal(capsys, "show", folder / "table.json", "--plot", folder / "table.pdf")
    assert "the name must end in .png" in line
