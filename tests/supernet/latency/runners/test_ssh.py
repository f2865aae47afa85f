"""The runner ``ssh`` against a script that runs what the board is asked on this machine."""

import sys

import pytest

from supernet.latency.devices.backends import Backend
from supernet.latency.devices.opening import open_device
from supernet.latency.models.onnx_int8 import model_of
from supernet.latency.runners.ssh import main
from supernet.latency.table.plan import middle_network
from tests.helpers.programs import Programs, refusal
from tests.helpers.tables import TINY

SPEC = middle_network(TINY)
BOARD = """
for word; do :; done
TMPDIR="{board}" exec sh -c "$word"
"""
"""ssh, as far as its last word goes, which is the line for the board."""
LITERT = "echo 'INFO: Inference timings in us: Init: 1, First inference: 9, Inference (avg): 1250'"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """An ssh whose board keeps its temporary files in ``board``."""
    (tmp_path / "board").mkdir()
    programs = Programs(tmp_path / "programs", monkeypatch)
    programs.add("ssh", BOARD.format(board=tmp_path / "board"))
    return programs


@pytest.fixture
def tflite(tmp_path):
    path = tmp_path / "a model's file.tflite"
    path.write_bytes(b"weights of a model")
    return path


def left(tmp_path):
    """Folders on the board afterwards; ONNX Runtime itself may leave a file of its own."""
    return [path for path in (tmp_path / "board").iterdir() if path.is_dir()]


def test_an_onnx_file_runs_in_the_python_of_the_board(programs, tmp_path, capsys):
    (tmp_path / "net.onnx").write_bytes(model_of(SPEC).SerializeToString())
    words = ["--host", "pi@board", "--runs", "7", "--program", sys.executable]
    main([*words, str(tmp_path / "net.onnx")])
    times = [float(word) for word in capsys.readouterr().out.split()]
    assert len(times) == 7
    assert 0 < min(times) < 1000
    assert left(tmp_path) == []
    (call,) = programs.calls("ssh")
    assert {"-T", "BatchMode=yes", "pi@board"} <= set(call)


def test_benchmark_model_gets_the_very_file_and_its_options(programs, tflite, tmp_path, capsys):
    script = (
        f'for word; do case "$word" in --graph=*) cp "${{word#--graph=}}" "{tmp_path}/seen";; esac'
    )
    programs.add("benchmark_model", f"{script}; done; {LITERT}")
    words = ["--host", "pi", "--program", "benchmark_model", "--threads", "3", "--runs", "9"]
    main([*words, "--cores", "0", str(tflite)])
    assert capsys.readouterr().out == "1.25\n"
    assert (tmp_path / "seen").read_bytes() == tflite.read_bytes()
    (call,) = programs.calls("benchmark_model")
    assert call[1:] == ["--num_threads=3", "--num_runs=9", "--warmup_runs=5"]
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'out of memory' >&2; exit 1", "benchmark_model on pi ended with status 1: out of"),
        ("kill -SEGV $$", "benchmark_model on pi ended with status 139"),
        ("sleep 30", "benchmark_model on pi took more than 1 s: raise --timeout"),
        ("echo fast", "benchmark_model on pi printed no time: its last line is 'fast'"),
        ("echo 0", "benchmark_model on pi printed 0 ms"),
    ],
)
def test_a_program_that_fails_is_one_line_and_leaves_nothing(
    programs, tflite, tmp_path, capsys, script, reason
):
    programs.add("benchmark_model", script)
    words = ["--host", "pi", "--program", "benchmark_model", "--timeout", "1", str(tflite)]
    assert refusal(main, words, capsys).startswith(reason)
    assert left(tmp_path) == []


def test_a_program_that_the_board_lacks_is_named(programs, tflite, tmp_path, capsys):
    words = ["--host", "pi", "--program", "no_such_program", str(tflite)]
    assert refusal(main, words, capsys).startswith("no_such_program on pi cannot be run (")
    assert left(tmp_path) == []


def test_a_board_that_is_not_reached_is_named_with_the_way_out(programs, tflite, capsys):
    programs.add("ssh", "echo 'ssh: connect to host pi port 22: No route to host' >&2; exit 255")
    line = refusal(main, ["--host", "pi", "--program", "benchmark_model", str(tflite)], capsys)
    assert line == (
        "ssh does not reach pi without a question (ssh: connect to host pi port 22: No route to"
        " host): mend it until `ssh -o BatchMode=yes pi true` says nothing"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "pi", "gone.onnx"], "gone.onnx is no file"),
        (["--host", "pi", "net.pb"], "net.pb is no onnx or pte or tflite file"),
        (["--host", "pi", "FILE"], "python3 on the board runs onnx files, not tflite"),
        (["--host=-oProxyCommand=x", "--program=p", "FILE"], "--host is '-oProxyCommand=x', it"),
        (
            ["--host", "pi", "--cores", "0;reboot", "FILE"],
            "argument --cores: '0;reboot' is no list",
        ),
        (["--host", "pi", "--timeout", "0", "FILE"], "argument --timeout: '0' is not a number"),
        (["FILE"], "the following arguments are required: --host"),
    ],
)
def test_options_that_mean_nothing_are_refused(programs, tflite, capsys, words, reason):
    words = [str(tflite) if word == "FILE" else word for word in words]
    assert refusal(main, words, capsys).startswith(reason)
    assert programs.calls("ssh") == []


def test_without_ssh_it_says_what_to_install(tflite, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    words = ["--host", "pi", "--program", "benchmark_model", str(tflite)]
    assert refusal(main, words, capsys) == (
        "there is no program ssh here: install OpenSSH's client"
    )


def test_the_backend_calls_it_by_one_line(programs, tmp_path):
    programs.add("onnxruntime_perf_test", "echo 'P50 Latency: 0.0021 s'")
    runner = f"{sys.executable} -m supernet.latency.runners.ssh --host pi"
    runner += " --program onnxruntime_perf_test {model}"
    with open_device(Backend("command", runner=runner), tmp_path / "models") as device:
        device.load([SPEC])
        assert device.visit([0]) == [[2.1]]
    assert left(tmp_path) == []
