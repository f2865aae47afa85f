"""The show command: every number of a network, for people and for programs."""

import json
import random
import subprocess
import sys
from itertools import pairwise

import pytest
from timm.models._efficientnet_builder import decode_arch_def

from supernet.__main__ import main
from supernet.arch_file import ArchFile, write_arch
from supernet.cost.counts import count
from supernet.display.rows import network_rows
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)


@pytest.fixture
def arch_file(tmp_path):
    """A file with brackets in its name, which rich would take for markup."""
    found = ArchFile(
        SPACE,
        SPACE.sample(random.Random(1)),
        1.25,
        "ms",
        "9f2c",
        "[x] core",
        0.9375,
        0.92,
        1.3,
        0,
        4000,
    )
    write_arch(tmp_path / "[bold]arch.json", found)
    return tmp_path / "[bold]arch.json"


def show(capsys, *arguments: str) -> str:
    main(["show", *arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("name", published)
def test_the_parts_add_up_to_the_network(name):
    for spec in (published[name], published[name].scaled(width=0.35, resolution=32, classes=10)):
        rows = network_rows(spec)
        assert sum(row.params for row in rows) == count(spec).params
        assert sum(row.macs for row in rows) == count(spec).macs


def test_each_part_starts_from_the_shape_that_the_one_before_ends_with():
    rows = network_rows(published["mnasnet_a1"])
    assert rows[0].input == (224, 224, 3)
    assert rows[-1].output == (1, 1, 1000)
    for before, after in pairwise(rows):
        assert after.input == before.output


def test_the_table_shows_every_part_in_full_when_piped(capsys):
    lines = show(capsys, "mnasnet_a1").splitlines()
    assert [line.split()[0] for line in lines[1:11]] == ["stem"] + ["stage"] * 7 + [
        "head",
        "classifier",
    ]
    assert lines[4].split() == [
        "stage",
        "3",
        "mbconv",
        "5",
        "3",
        "0.25",
        "identity",
        "3",
        "2",
        "56x56x24",
        "28x28x40",
        "39,098",
        "28,850,592",
        "r3_k5_s22_e3_i24_o40_se0.25",
    ]
    assert lines[11].split() == ["total", "3,887,038", "311,579,072"]
    assert lines[12] == "mnasnet_a1: 224 px, 1000 classes"


@pytest.mark.parametrize(("stride", "shown"), [(1, "identity"), (2, "none")])
def test_a_skip_is_shown_only_where_it_acts(stride, shown):
    stage = Stage("conv", 3, 1, 0.0, "identity", 16, 1, stride)
    assert network_rows(NetSpec(16, 1, (stage,), 64, 10, 32))[1].skip == shown


def test_json_holds_the_same_numbers_for_programs(capsys):
    shown = json.loads(show(capsys, "mnasnet_b1", "--json"))
    assert (shown["params"], shown["macs"]) == (4_383_312, 314_415_872)
    assert shown["block_strings"] == published["mnasnet_b1"].block_strings()
    assert [part["macs"] for part in shown["parts"]] == [
        row.macs for row in network_rows(published["mnasnet_b1"])
    ]
    assert "found" not in shown


def test_json_holds_timm_blocks_where_timm_has_them(capsys, arch_file):
    shown = json.loads(show(capsys, "mobilenet_v2_110d", "--json"))
    assert shown["timm_block_strings"][1] == "ir_r3_k3_s2_e6_c24"
    arch_def = [[text] for text in shown["timm_block_strings"]]
    stages = [stage for blocks in decode_arch_def(arch_def) for stage in blocks]
    assert len(stages) == sum(stage["repeats"] for stage in shown["spec"]["stages"])
    with_pool = json.loads(show(capsys, str(arch_file), "--json"))
    assert any(part["skip"] == "pool" for part in with_pool["parts"])
    assert with_pool["timm_block_strings"] is None


def test_published_networks_are_shown_at_the_scale_asked_for(capsys):
    scale = "--width", "0.35", "--resolution", "32", "--classes", "10", "--stem_stride", "1"
    shown = json.loads(show(capsys, "mnasnet_a1", "--json", *scale))
    spec = published["mnasnet_a1"].scaled(width=0.35, resolution=32, classes=10, stem_stride=1)
    assert (shown["params"], shown["macs"]) == (count(spec).params, count(spec).macs)
    assert (shown["resolution"], shown["classes"]) == (32, 10)


def test_a_found_architecture_is_shown_with_what_the_search_knew(capsys, arch_file):
    text = show(capsys, str(arch_file))
    assert f"{arch_file}: 16 px, 10 classes" in text
    assert "accuracy 0.9375, predicted 1.25 ms of at most 1.3 ms on [x] core" in text
    found = json.loads(show(capsys, str(arch_file), "--json"))["found"]
    assert found["predicted"] == 1.25
    assert found["step"] == 4000


def test_plot_draws_the_network_too(capsys, tmp_path):
    picture = tmp_path / "network.png"
    assert "total" in show(capsys, "mnasnet_small", "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "show"),
        (["list"], "'list'"),
        (["show"], "NAME|FILE"),
        (["show", "mnasnet_c1"], "'mnasnet_c1'"),
        (["show", "gone.json"], "gone.json"),
        (["show", "mnasnet_a1", "--wid", "1"], "--wid"),
        (["show", "mnasnet_a1", "--width", "0"], "'0' is not a number above 0"),
        (["show", "mnasnet_a1", "--width", "nan"], "'nan' is not a number above 0"),
        (["show", "mnasnet_a1", "--width", "wide"], "'wide' is not a number above 0"),
        (["show", "mnasnet_a1", "--resolution", "-1"], "'-1' is not a whole number"),
        (["show", "mnasnet_a1", "--classes", "2.5"], "'2.5' is not a whole number"),
        (["show", "mnasnet_a1", "--plot", "a.jpg"], "must end in .png"),
        (["show", "mnasnet_a1", "--plot", "/gone/a.png"], "cannot write /gone/a.png"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr_and_exit_status_2(capsys, arguments, message):
    assert message in refusal(capsys, *arguments)


@pytest.mark.parametrize("option", ["--width", "--resolution", "--classes", "--stem_stride"])
def test_a_found_architecture_keeps_its_own_scale(capsys, arch_file, option):
    assert f"{option} is for published names" in refusal(
        capsys, "show", str(arch_file), option, "2"
    )


def test_the_command_runs_as_a_module_and_refuses_without_a_traceback():
    command = [sys.executable, "-m", "supernet", "show", "nothing"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("error: unknown network 'nothing'")
    assert run.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "supernet", "show", "mnasnet_a1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0


def test_showing_a_network_loads_neither_torch_nor_matplotlib():
    program = (
        "import sys, supernet.__main__\n"
        "supernet.__main__.main(['show', 'mnasnet_a1'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'numpy')))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
