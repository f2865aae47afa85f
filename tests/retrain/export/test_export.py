"""Export: files that compute what PyTorch computes, and what happens when they do not."""

import dataclasses
import hashlib
import json
from importlib.metadata import version

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

from retrain.export import quantization
from retrain.export.export import main
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import as_text, as_values
from retrain.export.prediction import beside, prediction_of
from supernet.arch_file import read_arch, write_arch
from supernet.arch_records import TableError, package_versions
from supernet.cost.model import CLOSED_FORMS
from supernet.data.digits import Digits
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.network.checkpoint import load_network
from supernet.space.spec import NetSpec
from tests.helpers.exports import report_of, status_of

HERE = device_name(OnnxRuntime().description())


@pytest.fixture
def _no_timing(monkeypatch):
    kind = dataclasses.replace(FORMATS["onnx"], latency=lambda path, resolution: 1.25)
    monkeypatch.setitem(FORMATS, "onnx", kind)


@pytest.mark.usefixtures("_no_timing")
def test_onnx_and_pt2_compute_what_pytorch_computes(run, capsys):
    main(["--run", str(run)])
    report = report_of(run)
    best = (run / "checkpoints" / "best.ckpt").read_bytes()
    assert report["checkpoint_sha256"] == hashlib.sha256(best).hexdigest()
    assert list(report["formats"]) == ["onnx", "pt2"]
    for entry in report["formats"].values():
        content = (run / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)
        assert entry["failure"] == ""
        assert entry["images"] == 179  # all of the validation split
        assert entry["max_difference"] <= entry["tolerance"]
        assert entry["agreement"] == 1.0
    assert report["formats"]["onnx"]["latency_ms"] == 1.25
    assert report["versions"]["torch"] == version("torch")
    size = report["formats"]["onnx"]["bytes"] - sum(map(len, as_text(report["metadata"]).values()))
    spec = NetSpec.from_dict(report["spec"])
    assert CLOSED_FORMS["size"].predict(spec) == pytest.approx(size, rel=0.03)
    assert "predicted" not in report, "macs were"
    assert capsys.readouterr().out.count("\n") <= 10

    # What the files say, read as a user would.
    told = report["metadata"]
    session = onnxruntime.InferenceSession(run / "network.onnx")
    assert as_values(session.get_modelmeta().custom_metadata_map) == told
    extra = {"metadata.json": ""}
    torch.export.load(run / "network.pt2", extra_files=extra)
    assert json.loads(extra["metadata.json"]) == told
    assert told["classes"] == list("0123456789")
    assert (told["resize"], told["interpolation"]) == (8, "bilinear")
    assert NetSpec.from_dict(told["architecture"]) == spec
    best = torch.load(run / "checkpoints" / "best.ckpt")
    assert told["accuracy"] == {"split": "val", **best["validation"], "alarm": ""}
    (kept,) = [one for one in best["callbacks"].values() if "best_model_score" in one]
    assert best["validation"]["accuracy"] == pytest.approx(float(kept["best_model_score"]))
    assert told["trained_with"] == best["versions"] == package_versions()
    assert report["formats"]["onnx"]["opset"] == 18

    # Nothing but the file: another batch size, in a session of our own.
    images = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)
    (logits,) = onnxruntime.InferenceSession(run / "network.onnx").run(None, {"images": images})
    network = load_network(run / "checkpoints" / "best.ckpt")
    np.testing.assert_allclose(logits, network(torch.from_numpy(images)).detach(), atol=1e-4)
    # No side file, no half-written one.
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "config.yaml",
        "checkpoints",
        "network.onnx",
        "network.pt2",
        "export.json",
        "report.html",
    }


@pytest.mark.usefixtures("_no_timing")
def test_an_int8_file_stands_beside_that_of_floats(run, monkeypatch):
    # A network this small is hardly trained, and rounds worse than one that ships.
    for name, limit in {
        "MAX_RELATIVE_DIFFERENCE": 0.3,
        "MAX_DIFFERENCE": 1.0,
        "MIN_AGREEMENT": 0.8,
    }.items():
        monkeypatch.setattr(quantization, name, limit)
    words = ["--run", str(run), "--formats", "onnx", "--opset", "13", "--quantize", "int8"]
    main([*words, "--max_accuracy_loss", "100"])
    report = report_of(run)
    floats, small = report["formats"]["onnx"], report["formats"]["onnx-int8"]
    assert small["file"] == "network.int8.onnx"
    # In a network this small names weigh more than weights.
    assert small["bytes"] == (run / small["file"]).stat().st_size != floats["bytes"]
    assert small["latency_ms"] == 1.25
    assert 0 < small["relative_difference"] < 0.3

    session = onnxruntime.InferenceSession(run / "network.int8.onnx")
    told = as_values(session.get_modelmeta().custom_metadata_map)
    assert (told["precision"], told["calibration_images"]) == ("int8", 256)
    assert told["accuracy"] == small["accuracy"]
    assert told["classes"] == report["metadata"]["classes"]
    # The accuracy that it states, in a session of our own.
    digits = Digits(resolution=8)
    digits.setup("test")
    right = [
        int((session.run(None, {"images": images.numpy()})[0].argmax(1) == labels.numpy()).sum())
        for images, labels in digits.test_dataloader()
    ]
    assert sum(right) / small["accuracy"]["images"] == small["accuracy"]["accuracy"]


def write_prediction(trained, run, device):
    """Let the run's network be one that a search found by a table of a device."""
    found = dataclasses.replace(
        read_arch(trained / "arch.json"),
        unit="ms",
        predicted=1.0,
        device=device,
        table="9f2c",
        table_error=TableError(0.04, 0.01, 60),
    )
    write_arch(run / "arch.json", found)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").unlink()
    config["model"] = {"arch": str(run / "arch.json")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return found.spec


@pytest.mark.usefixtures("_no_timing")
def test_a_prediction_stands_beside_what_was_measured(trained, run, capsys):
    write_prediction(trained, run, HERE)
    main(["--run", str(run), "--formats", "onnx"])
    predicted = report_of(run)["predicted"]
    assert predicted["ms"] == 1.0
    assert predicted["table_error"] == {"mean": 0.04, "noise": 0.01, "networks": 60}
    out = capsys.readouterr().out
    assert f"predicted 1 ms on {HERE}; the table errs by 4.0% on average" in out
    assert "machine, 25.0% more than predicted, more than twice its usual" in out


def test_a_prediction_for_another_device_is_told_and_not_compared(trained, run, capsys):
    predicted = prediction_of(run, write_prediction(trained, run, "a phone"))
    predicted.say(quantized=False)
    said = "predicted 1 ms on a phone; the table errs by 4.0% on average"
    assert capsys.readouterr().out.startswith(said)
    assert beside(predicted, "onnx", 1.25, "fp32") == ""


def test_the_averaged_weights_are_shipped(trained):
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt")
    network = load_network(trained / "checkpoints" / "best.ckpt")
    name = "classifier.weight"
    shipped = network.state_dict()[name]
    assert torch.equal(shipped, checkpoint["state_dict"][f"network.{name}"])
    assert not torch.equal(shipped, checkpoint["current_model_state"][f"network.{name}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--formats", "tflite"],
            "unknown format 'tflite', known are onnx, pt2, executorch, litert, openvino, coreml",
        ),
        (["--checkpoint", "first.ckpt"], "no checkpoint at first.ckpt: give best, last or a file"),
        (["--run", "nowhere"], "no run in nowhere: name the folder of a retraining"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message, capsys):
    assert status_of("--run", run, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_broken_checkpoint_is_one_line_and_status_2(run, content, capsys):
    broken = run / "broken.ckpt"
    whole = (run / "checkpoints" / "best.ckpt").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert status_of("--run", run, "--checkpoint", broken) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {broken} is not a whole checkpoint of a retraining")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {}", "does not describe data"),
        ("data: {class_path: supernet.data.Nothing}", "does not describe data"),
        ("data: {class_path: supernet.data.Digits}", "have images (3, 16, 16)"),
    ],
)
def test_data_that_do_not_fit_are_one_line_and_status_2(run, text, message, capsys):
    (run / "config.yaml").unlink()
    (run / "config.yaml").write_text(text)
    assert status_of("--run", run, "--formats", "pt2") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
