"""The compare command: networks side by side, for people and for programs."""

import json
import random
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from supernet.__main__ import main
from supernet.arch_file import ArchFile, write_arch
from supernet.cost.counts import count
from supernet.cost.timed_layers import timed_layers
from supernet.latency.table.correction import Times
from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published
from tests.helpers.archs import counted_arch
from tests.helpers.tables import NOWHERE, plain_table

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)
SCALE = {"resolution": 16, "classes": 10, "stem_stride": 1}
SMALL, A1 = (published[name].scaled(**SCALE) for name in ("mnasnet_small", "mnasnet_a1"))


@pytest.fixture
def found():
    arch = SPACE.sample(random.Random(1))
    return ArchFile(SPACE, arch, 1.25, "ms", "9f2c", "core", 0.9375, 0.92, 1.3, 0, 4000)


@pytest.fixture
def arch_file(tmp_path, found):
    """A file with brackets in its name, which rich would take for markup."""
    write_arch(tmp_path / "[bold]arch.json", found)
    return str(tmp_path / "[bold]arch.json")


def save_table(path, specs, fingerprint) -> LatencyTable:
    rng = random.Random(0)
    keys = sorted({part.key for spec in specs for part in timed_layers(spec)})
    entries = {key: Times(1.0, rng.uniform(0.1, 1.0)) for key in keys}
    words = {**NOWHERE, "device": "[x] core", "runtime": "onnxruntime 0", **fingerprint}
    table = plain_table(entries, words, mape=0.045)
    table.write(path)
    return table


@pytest.fixture
def table_file(tmp_path, found):
    """A table of two published names and the found network, all at the scale of the space."""
    save_table(tmp_path / "table.json", [SMALL, A1, found.spec], {"space": asdict(SPACE)})
    return str(tmp_path / "table.json")


def compare(capsys, *arguments: str) -> str:
    main(["compare", *arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def compared(capsys, *arguments: str) -> list[dict]:
    return json.loads(compare(capsys, *arguments, "--json"))["networks"]


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *arguments])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def words_of(text: str, start: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith(start)]


def test_the_totals_stand_under_each_other_with_their_ratio_to_the_first(capsys):
    text = compare(capsys, "mnasnet_a1", "mobilenet_v2", "mnasnet_small")
    assert words_of(text, "mnasnet_a1") == [
        ["mnasnet_a1", "224", "1000", "2", "16", "3,887,038", "1.00x", "311,579,072", "1.00x"]
    ]
    assert words_of(text, "mobilenet_v2") == [
        ["mobilenet_v2", "224", "1000", "2", "17", "3,504,872", "0.90x", "300,774,272", "0.97x"]
    ]
    assert words_of(text, "mnasnet_small")[0][-3:] == ["0.52x", "68,339,184", "0.22x"]
    assert "layers: those of the stages" in text


def test_ratios_below_a_tenth_keep_two_digits(capsys):
    text = compare(capsys, "mnasnet_a1", "mnasnet_a1_035")
    assert words_of(text, "mnasnet_a1_035")[0][-3:] == ["0.45x", "61,681,920", "0.20x"]
    text = compare(capsys, "mnasnet_a1_140", "mnasnet_small_050")
    macs = compared(capsys, "mnasnet_small_050")[0]["macs"]
    assert words_of(text, "mnasnet_small_050")[0][-1] == f"{macs / 586_317_952:.2g}x"


def test_stages_stand_under_each_other_with_a_dot_where_they_are_alike(capsys):
    text = compare(capsys, "mnasnet_a1", "mnasnet_b1").splitlines()
    third = next(n for n, line in enumerate(text) if line.startswith("stage 3"))
    assert text[third].split() == [
        "stage",
        "3",
        "mnasnet_a1",
        "mbconv",
        "5",
        "3",
        "0.25",
        "identity",
        "40",
        "3",
        "2",
        "28x28",
    ]
    assert text[third + 1].split() == ["mnasnet_b1", ".", ".", ".", "-", *"....."]
    assert text[third + 3].split() == ["mnasnet_b1", ".", "5", *"....", "3", ".", "."]
    words = ["SE", "expand", "filters", "kernel", "op", "output", "repeats", "skip", "stride"]
    assert sorted(text[0].split()[2:]) == words
    assert ". is what the first network has" in text


def test_a_network_without_a_stage_has_dashes_there_and_hides_no_other(capsys, tmp_path):
    space = MnasSpace(
        base_filters=(16, 24),
        base_layers=(1, 1),
        strides=(1, 2),
        ops=("mbconv3",),
        ses=(0.0,),
        skips=("none",),
    )
    arch = space.sample(random.Random(0))
    write_arch(tmp_path / "short.json", counted_arch(space, arch))
    short = str(tmp_path / "short.json")
    lines = compare(capsys, short, "mnasnet_a1").splitlines()
    third = next(n for n, line in enumerate(lines) if line.startswith("stage 3"))
    assert lines[third].split()[3:] == ["-"] * 9
    assert lines[third + 1].split() == [
        "mnasnet_a1",
        "mbconv",
        "5",
        "3",
        "0.25",
        "identity",
        "40",
        "3",
        "2",
        "28x28",
    ]
    lines = compare(capsys, "mnasnet_a1", short).splitlines()
    assert lines[third + 1].split() == [short, *["-"] * 9]
    assert [line.split()[0] for line in lines[-4:-3]] == ["mnasnet_a1"]


def test_one_network_has_totals_and_nothing_to_be_compared_with(capsys):
    text = compare(capsys, "mnasnet_a1")
    assert "stage 1" not in text
    assert "3,887,038" in text


def test_published_names_take_the_scale_of_the_first_file_and_say_so(capsys, arch_file, found):
    text = compare(capsys, "mnasnet_a1", arch_file)
    assert f"published names: resolution, classes, stem stride of {arch_file}\n" in text
    first, second = compared(capsys, "mnasnet_a1", arch_file)
    assert (first["params"], first["macs"]) == (count(A1).params, count(A1).macs)
    assert (second["params"], second["macs"]) == (found.params, found.macs)
    assert {key: first[key] for key in SCALE} == {key: second[key] for key in SCALE} == SCALE


def test_options_go_before_the_scale_of_the_file(capsys, arch_file):
    options = "--resolution", "64", "--stem_stride", "2"
    text = compare(capsys, "mnasnet_b1", arch_file, *options)
    assert f"published names: classes of {arch_file}\n" in text
    first, second = compared(capsys, "mnasnet_b1", arch_file, *options)
    assert (first["resolution"], first["classes"], first["stem_stride"]) == (64, 10, 2)
    assert second["resolution"] == 16
    assert first["macs"] == count(published["mnasnet_b1"].scaled(resolution=64, classes=10)).macs


def test_published_names_alone_keep_their_scale_and_files_alone_say_nothing(capsys, arch_file):
    assert compared(capsys, "mnasnet_a1")[0]["resolution"] == 224
    assert "published names" not in compare(capsys, "mnasnet_a1", "mnasnet_b1")
    assert "published names" not in compare(capsys, arch_file, arch_file)


def test_a_table_predicts_every_network_and_lends_the_names_its_scale(
    capsys, arch_file, table_file, found
):
    predict = LatencyTable.read(table_file).predict
    text = compare(capsys, "mnasnet_a1", "mnasnet_small", "--table", table_file)
    assert f"published names: resolution, classes, stem stride of {table_file}\n" in text
    row = words_of(text, "mnasnet_small")[0]
    assert row[-2] == f"{predict(SMALL):.4g}"
    assert row[-1] == f"{predict(SMALL) / predict(A1):.2f}x"
    assert (
        f"latency: predicted for [x] core, onnxruntime 0, 1 thread, from {table_file};"
        " mean error 4.5% on 16 measured networks" in text
    )
    shown = compared(capsys, arch_file, "mnasnet_a1", "--table", table_file)
    assert [network["predicted_ms"] for network in shown] == [predict(found.spec), predict(A1)]


def test_a_table_that_tells_no_scale_leaves_the_names_theirs(capsys, tmp_path):
    spec = published["mnasnet_small"]
    path = tmp_path / "table.json"
    table = save_table(path, [spec], {})
    shown = compared(capsys, "mnasnet_small", "--table", str(path))
    assert shown[0]["predicted_ms"] == pytest.approx(table.predict(spec))


@pytest.mark.parametrize("space", ["large", {"resolution": "16"}, None])
def test_a_table_of_a_space_that_is_none_is_refused(capsys, tmp_path, space):
    path = tmp_path / "table.json"
    save_table(path, [published["mnasnet_small"]], {"space": space})
    line = refusal(capsys, "mnasnet_small", "--table", str(path))
    assert "is no latency table of this version: fingerprint.space" in line


def test_json_holds_what_show_says_and_the_table(capsys, arch_file, table_file):
    shown = json.loads(compare(capsys, arch_file, "mnasnet_a1", "--table", table_file, "--json"))
    assert shown["table"] == {
        "file": table_file,
        "device": "[x] core, onnxruntime 0, 1 thread",
        "hash": LatencyTable.read(table_file).hash,
    }
    first, second = shown["networks"]
    assert (first["name"], second["name"]) == (arch_file, "mnasnet_a1")
    assert second["block_strings"] == A1.block_strings()
    assert second["layers"] == 16
    assert first["found"]["predicted"] == 1.25
    main(["show", arch_file, "--json"])
    alone = json.loads(capsys.readouterr().out)
    assert alone.items() <= first.items()
    without = json.loads(compare(capsys, "mnasnet_a1", "--json"))
    assert without["table"] is None
    assert without["networks"][0]["predicted_ms"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "NAME|FILE"),
        (["mnasnet_c1"], "'mnasnet_c1'"),
        (["mnasnet_a1", "gone.json"], "gone.json: cannot be read"),
        (["mnasnet_a1", "--table", "gone.json"], "cannot read the latency table gone.json"),
        (["mnasnet_a1", "--table", ""], "cannot read the latency table"),
        (["mnasnet_a1", "--table"], "--table"),
        (["mnasnet_a1", "--classes", "0"], "'0' is not a whole number"),
        (["mnasnet_a1", "--tab", "x"], "--tab"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr_and_exit_status_2(capsys, arguments, message):
    assert message in refusal(capsys, *arguments)


def test_broken_files_are_named(capsys, tmp_path, arch_file):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert f"{broken}: not JSON" in refusal(capsys, "mnasnet_a1", str(broken))
    assert f"{broken} is no latency table" in refusal(capsys, "mnasnet_a1", "--table", str(broken))
    assert f"{arch_file} is no latency table" in refusal(capsys, "mnasnet_a1", "--table", arch_file)


def test_a_network_that_the_table_lacks_is_named_with_its_part(capsys, table_file):
    line = refusal(capsys, "mnasnet_a1", "mnasnet_b1", "--table", table_file)
    assert line.startswith("error: mnasnet_b1: the latency table holds no mbconv3_k3_s2_i16_o24")
    line = refusal(capsys, "mnasnet_a1", "--table", table_file, "--resolution", "24")
    assert line.startswith("error: mnasnet_a1: the latency table holds no stem_k3_s1_o32_px24")


@pytest.mark.parametrize("option", ["--resolution", "--classes", "--stem_stride"])
def test_files_alone_refuse_another_scale(capsys, arch_file, option):
    assert f"{option} is for published names" in refusal(capsys, arch_file, option, "2")


def test_comparing_loads_neither_torch_nor_onnx_nor_matplotlib(table_file):
    program = (
        "import sys, supernet.__main__\n"
        f"supernet.__main__.main(['compare', 'mnasnet_a1', '--table', {table_file!r}])\n"
        "sys.exit(any(n in sys.modules for n in ('torch', 'onnx', 'matplotlib', 'sklearn')))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_the_command_runs_as_a_module():
    command = [sys.executable, "-m", "supernet", "compare", "mnasnet_a1", "nothing"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("error: unknown network 'nothing'")


def test_a_prediction_that_is_not_its_tables_is_refused(capsys, arch_file, table_file, found):
    table = LatencyTable.read(table_file)
    honest = table.predict(found.spec)
    written = replace(found, table=table.hash, predicted=honest, target=honest)
    write_arch(arch_file, written)
    assert compared(capsys, arch_file, "--table", table_file)[0]["predicted_ms"] == honest
    write_arch(arch_file, replace(written, predicted=honest / 2))
    line = refusal(capsys, arch_file, "--table", table_file)
    assert f"predicted is {honest / 2} ms, but its table gives {honest}: the file was" in line
