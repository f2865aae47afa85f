"""Backends on this machine: what they load and give, what they refuse, never how fast they are."""

import collections
import dataclasses
import importlib.util
import math
import sys
import time

import onnx
import onnxruntime
import pytest
import torch

from supernet.cost.timed_layers import timed_layers, timed_layers_of_space
from supernet.errors import UserError
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.benchmark_program import milliseconds
from supernet.latency.devices.opening import open_device
from supernet.latency.models.onnx_int8 import model_of
from supernet.latency.models.subject import (
    NetworkFile,
    from_plain,
    input_shape,
    subject_key,
    to_plain,
)
from supernet.latency.models.torch_modules import example, module_of
from supernet.latency.table.plan import middle_network
from supernet.network.network import Network
from supernet.space.published import published_spec
from tests.helpers.tables import TINY

SPEC = middle_network(TINY)
SMALL = published_spec("mnasnet_small").scaled(resolution=32, classes=10)
V2 = published_spec("mobilenet_v2").scaled(resolution=32, classes=10)


def opened(tmp_path, name, **settings):
    return open_device(Backend(name, **settings), tmp_path / "models")


# --- what is measured -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject", [SPEC, *timed_layers_of_space(TINY)[:3], *timed_layers(SPEC)[:2]], ids=str
)
def test_subjects_travel_between_processes(subject):
    assert from_plain(to_plain(subject)) == subject


def test_parts_are_the_modules_of_which_a_network_is_made():
    network = Network(SPEC).eval()
    x = torch.randn(input_shape(SPEC))
    stem, head, *layers = map(module_of, timed_layers(SPEC))
    blocks = [block for stage in network.blocks for block in stage]
    stem[0].load_state_dict(network.conv_stem.state_dict())
    head[0].load_state_dict(network.conv_head.state_dict())
    head[-1].load_state_dict(network.classifier.state_dict())
    for layer, block in zip(layers, blocks, strict=True):
        layer.load_state_dict(block.state_dict())
    y = stem(x)
    for layer in layers:
        y = layer(y)
    # Fresh batch norms, of which a part's has another epsilon.
    torch.testing.assert_close(head(y), network(x), rtol=0.02, atol=0.02)
    for part in timed_layers(SPEC):
        assert module_of(part)(example(part)).shape[0] == 1


# --- int8 graphs ------------------------------------------------------------------------------


def optimised(model, tmp_path):
    """Ops that ONNX Runtime really runs, and the session."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    return collections.Counter(node.op_type for node in nodes), session


@pytest.mark.parametrize("spec", [SMALL, V2], ids=["relu and se", "relu6"])
def test_convolutions_of_an_int8_network_run_in_integers(spec, tmp_path):
    model = model_of(spec, "int8")
    onnx.checker.check_model(model, full_check=True)
    floats, _ = optimised(model_of(spec), tmp_path)
    ops, session = optimised(model, tmp_path)
    assert ops["Conv"] + ops["FusedConv"] == 0
    assert ops["QLinearConv"] == floats["Conv"] + floats["FusedConv"]
    assert ops["QGemm"] == 1
    assert ops["DequantizeLinear"] < 12, "only around what has no integer kernel"
    (logits,) = session.run(None, {"x": example(spec).numpy()})
    assert logits.shape == (1, 10)


@pytest.mark.parametrize("part", timed_layers(SMALL)[:6], ids=lambda part: part.key)
def test_parts_have_int8_graphs(part, tmp_path):
    ops, session = optimised(model_of(part, "int8"), tmp_path)
    floats, _ = optimised(model_of(part), tmp_path)
    assert ops["Conv"] + ops["FusedConv"] == 0
    assert ops["QLinearConv"] == floats["Conv"] + floats["FusedConv"]
    assert session.run(None, {"x": example(part).numpy()})


def test_without_int8_the_graph_is_that_of_floats():
    assert model_of(SPEC) == model_of(SPEC, "fp32")
    assert not [node for node in model_of(SPEC).graph.node if "Quantize" in node.op_type]


# --- devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "described"),
    [
        ("onnxruntime", {}, {"precision": "fp32", "clock": "cpu", "threads": 1}),
        ("onnxruntime", {"precision": "int8"}, {"precision": "int8"}),
        ("onnxruntime", {"threads": 2}, {"threads": 2, "clock": "wall"}),
        ("torch", {}, {"precision": "fp32", "clock": "cpu"}),
        ("torch", {"precision": "bf16", "device": "cpu"}, {"precision": "bf16"}),
    ],
)
def test_a_device_times_networks_and_parts(tmp_path, name, settings, described):
    subjects = [SPEC, *timed_layers(SPEC)[:3]]
    with opened(tmp_path, name, **settings) as device:
        found = device.description()
        assert found["backend"] == name
        assert described.items() <= found.items()
        device.load(subjects)
        times = device.visit([0, 3, 1, 0])
        assert len(times) == 4
        assert all(len(runs) == 2 and min(runs) > 0 for runs in times)
        device.load(subjects[:1])
        assert len(device.visit([0])) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_times_networks_and_parts(tmp_path, precision):
    with opened(tmp_path, "torch", device="cuda", precision=precision) as device:
        assert device.description()["clock"] == "gpu"
        device.load([SPEC, *timed_layers(SPEC)[:3]])
        assert all(min(runs) > 0 for runs in device.visit([0, 1, 2, 3]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_torch_without_a_gpu_says_so(tmp_path):
    with pytest.raises(UserError, match="torch finds no GPU here: give --device cpu"):
        opened(tmp_path, "torch", device="cuda")


@pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="needs executorch")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_executorch_times_networks_and_parts(tmp_path, precision):
    with opened(tmp_path, "executorch", precision=precision) as device:
        device.load([SPEC, timed_layers(SPEC)[2]])
        assert all(len(runs) == 2 and min(runs) > 0 for runs in device.visit([0, 1]))
    assert len(list((tmp_path / "models").glob("*.pte"))) == 2


@pytest.mark.skipif(importlib.util.find_spec("executorch") is not None, reason="it is there")
def test_a_missing_extra_is_named(tmp_path):
    with pytest.raises(UserError, match=r"needs `pip install mnasnet-search\[executorch\]`"):
        opened(tmp_path, "executorch")
    with pytest.raises(UserError, match=r"needs `pip install mnasnet-search\[executorch\]`"):
        opened(tmp_path, "command", runner="true", files="pte")


def test_a_file_is_measured_by_onnxruntime_alone(tmp_path):
    with (
        opened(tmp_path, "torch") as device,
        pytest.raises(UserError, match=r"torch cannot run net\.onnx"),
    ):
        device.load([NetworkFile(tmp_path.__class__("net.onnx"), 32)])


# --- commands ---------------------------------------------------------------------------------

TIMES = "import sys, os; print('loading'); print(os.path.getsize(sys.argv[1]) / 1e4, 1.0, 1e9)"


def commanded(tmp_path, program, **settings):
    script = tmp_path / "program.py"
    script.write_text(program)
    return opened(tmp_path, "command", runner=f"{sys.executable} {script}", **settings)


def test_a_command_gets_a_model_file_and_its_median_counts(tmp_path):
    with commanded(tmp_path, TIMES) as device:
        device.load([SPEC, timed_layers(SPEC)[2]])
        (network,), (part,) = device.visit([0, 1])
        assert device.description()["device"].endswith("program.py")
    paths = list((tmp_path / "models").glob("*.onnx"))
    sizes = sorted(path.stat().st_size / 1e4 for path in paths)
    assert [part, network] == [pytest.approx(max(1.0, size)) for size in sizes]
    for path in paths:
        onnx.checker.check_model(onnx.load(path))


def test_a_model_goes_where_the_command_wants_it(tmp_path):
    runner = f"{sys.executable} -c 'import sys; print(len(sys.argv[1:]))' {{model}} -v"
    with opened(tmp_path, "command", runner=runner) as device:
        device.load([SPEC])
        assert device.visit([0]) == [[2.0]]


def test_a_command_is_told_how_many_threads_to_take(tmp_path):
    runner = f"{sys.executable} -c 'import sys; print(sys.argv[1])' {{threads}}"
    with opened(tmp_path, "command", runner=runner, threads=3) as device:
        device.load([SPEC])
        assert device.visit([0]) == [[3.0]]
        assert device.description()["threads"] == 3


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('no board')", "ended with status 1: no board; mend it"),
        ("print('fast')", "printed no time: its last line is 'fast'; it must print milliseconds"),
        ("print(-3)", "printed no time"),
        ("print('nan')", "printed no time"),
        ("print(0)", "printed 0 ms: every time must be above 0"),
        ("", "printed no time: its last line is 'nothing'"),
    ],
)
def test_a_command_that_prints_nonsense_ends_in_one_line(tmp_path, program, reason):
    with commanded(tmp_path, program) as device:
        device.load([SPEC])
        with pytest.raises(UserError, match=reason) as caught:
            device.visit([0])
    assert "\n" not in str(caught.value)


def test_what_a_hanging_command_has_started_is_ended(tmp_path):
    mark = tmp_path / "alive"
    program = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 1; touch {mark}'])"
    with commanded(tmp_path, program, timeout=0.5) as device:
        device.load([SPEC])
        with pytest.raises(UserError, match="gave no answer"):
            device.visit([0])
    time.sleep(1.2)
    assert not mark.exists()


def test_a_command_that_hangs_or_is_missing_ends_in_one_line(tmp_path):
    with commanded(tmp_path, "import time; time.sleep(60)", timeout=0.3) as device:
        device.load([SPEC])
        with pytest.raises(UserError, match=r"gave no answer within 0\.3 s"):
            device.visit([0])
    with opened(tmp_path, "command", runner="no-such-program") as device:
        device.load([SPEC])
        with pytest.raises(UserError, match="cannot run no-such-program: No such file"):
            device.visit([0])


@pytest.mark.parametrize(
    ("output", "times"),
    [
        ("1.5\n2.5\n", [1.5, 2.5]),
        ("warming up\n1.5, 2.5; 3\n", [1.5, 2.5, 3.0]),
        ("0.0012e3 ms\n", [1.2]),
        ("done in 3 steps\n7.25\n", [7.25]),
    ],
)
def test_milliseconds_are_read_from_lines_of_numbers_alone(output, times):
    assert milliseconds(output) == pytest.approx(times)


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "tpu"}, "backend is 'tpu', allowed are onnxruntime, torch, executorch, adb"),
        ({"name": "onnxruntime", "precision": "bf16"}, "--precision of onnxruntime is 'bf16'"),
        ({"name": "torch", "precision": "int8"}, "allowed are fp32, bf16, fp16"),
        ({"name": "onnxruntime", "threads": 0}, "--threads is 0, it must be at least 1"),
        ({"name": "command"}, "backend command needs --runner: a program that takes a model"),
        ({"name": "command", "runner": "x", "files": "pb"}, "--files of command is 'pb'"),
        (
            {"name": "command", "runner": "x", "threads": 2},
            "--threads is 2, but --runner 'x' is not",
        ),
        ({"name": "command", "runner": "x", "timeout": 0}, "--timeout is 0, it must be above 0"),
        ({"name": "command", "runner": "x", "timeout": math.inf}, "--timeout is inf"),
        ({"name": "adb", "runner": "x", "cores": "f0; reboot"}, "must be a hexadecimal mask"),
        (
            {"name": "command", "runner": "x", "files": "tflite", "precision": "int8"},
            "--precision int8 needs --files onnx or pte, not tflite",
        ),
        ({"name": "onnxruntime", "cores": "f0"}, "--cores is 'f0', but backend onnxruntime has"),
        ({"name": "torch", "runner": "x"}, "--runner is 'x', but backend torch has none"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(settings, reason):
    with pytest.raises(UserError, match=reason):
        Backend(**settings)


def test_settings_are_kept_as_they_were_given():
    backend = Backend("torch", precision="bf16", threads=2)
    assert Backend.of_table(backend.plain(), {}) == backend
    on_cuda = dataclasses.replace(backend, device="cuda")
    assert Backend.of_table(on_cuda.plain(), {"device": "cuda"}) == on_cuda
    with pytest.raises(UserError, match=r"unknown field fingerprint\.settings\.'speed'"):
        Backend.of_table({"name": "torch", "speed": 3}, {})


@pytest.mark.parametrize(
    ("name", "value"), [("runner", "sh -c x"), ("device", "cuda"), ("timeout", 1e9)]
)
def test_no_table_says_what_is_run_where_and_how_long(name, value):
    plain = {"name": "torch", name: value}
    with pytest.raises(UserError, match=rf"settings\.{name} is .* give --{name} yourself"):
        Backend.of_table(plain, {})


def test_settings_that_change_no_time_and_command_lines_are_not_kept():
    plain = Backend("command", runner="./run -t {threads}", timeout=3.0, threads=2).plain()
    assert plain == {"name": "command", "threads": 2}
    phone = Backend("adb", runner="./run", device="a", cores="f0", timeout=3.0).plain()
    assert phone == {"name": "adb", "cores": "f0"}
    with pytest.raises(UserError, match="backend command needs --runner"):
        Backend.of_table(plain, {})


def test_a_command_line_that_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no command line: No closing quotation"):
        opened(tmp_path, "command", runner="./x 'y")


def test_keys_tell_subjects_apart():
    other = dataclasses.replace(SPEC, classes=11)
    assert subject_key(other) != subject_key(SPEC)
