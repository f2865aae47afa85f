"""Export: files that compute what PyTorch computes, and what happens when they do not."""

import copy
import dataclasses
import hashlib
import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import pytorch_lightning as pl
import torch
import yaml

from retrain.cli import run_callbacks
from retrain.export import quantization
from retrain.export.comparison import compare_outputs
from retrain.export.export import main
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import as_text, as_values
from retrain.export.formats.torch_program import read_pt2_metadata, write_pt2
from retrain.module import RetrainModule
from supernet.arch_file import read_arch, write_arch
from supernet.arch_records import TableError, package_versions
from supernet.command.process import run_command
from supernet.cost.model import CLOSED_FORMS
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.network.checkpoint import load_network
from supernet.run.callbacks import RunFiles
from supernet.run.checkpoints import LastCheckpoint
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.training.recipe import Recipe
from tests.helpers.archs import counted_arch

RECIPE = Recipe(
    optimizer="adamw", lr=0.04, eps=0, schedule="cosine", ema_decay=0.9, bn_momentum=0.1
)
HERE = device_name(OnnxRuntime().description())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder as ``retrain fit`` leaves it, of a network with squeeze-and-excitation."""
    run = tmp_path_factory.mktemp("run")
    space = MnasSpace(
        base_filters=(8, 16),
        base_layers=(1, 2),
        strides=(1, 2),
        stem=8,
        stem_stride=1,
        head=16,
        resolution=8,
        classes=10,
    )
    blocks = (
        BlockChoice("sepconv", 5, 0.25, "pool", 1.0, 0),
        BlockChoice("mbconv3", 3, 0.25, "identity", 1.0, 0),
    )
    found = counted_arch(space, Arch(blocks))
    write_arch(run / "arch.json", found)
    data = {
        "class_path": "supernet.data.digits.Digits",
        "init_args": {"resolution": 8, "batch_size": 32},
    }
    module = RetrainModule(str(run / "arch.json"), 10, 8, 1, RECIPE)
    last = LastCheckpoint(run)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[RunFiles(run, yaml.safe_dump({"data": data})), *run_callbacks(run), last],
    )
    trainer.fit(module, RunData(Digits(resolution=8, batch_size=32), "retrain", seed=0))
    return run


@pytest.fixture
def run(trained, tmp_path):
    """The trained run's files in a folder of the test's own."""
    for source in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (tmp_path / source).parent.mkdir(exist_ok=True)
        (tmp_path / source).symlink_to(trained / source)
    return tmp_path


@pytest.fixture
def _no_timing(monkeypatch):
    kind = dataclasses.replace(FORMATS["onnx"], latency=lambda path, resolution: 1.25)
    monkeypatch.setitem(FORMATS, "onnx", kind)


def report_of(run):
    return json.loads((run / "export.json").read_text())


def status_of(*arguments):
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: main([str(argument) for argument in arguments]))
    return leaving.value.code


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
    main([*words, "--max-accuracy-loss", "100"])
    report = report_of(run)
    floats, small = report["formats"]["onnx"], report["formats"]["onnx-int8"]
    assert small["file"] == "network.int8.onnx"
    assert small["bytes"] < floats["bytes"]
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


@pytest.mark.usefixtures("_no_timing")
@pytest.mark.parametrize(
    ("device", "said"),
    [
        (HERE, "machine, 25.0% more than predicted, more than twice its usual"),
        ("a phone", "machine\n"),
    ],
)
def test_a_prediction_stands_beside_what_was_measured(trained, run, capsys, device, said):
    found = read_arch(trained / "arch.json")
    error = TableError(0.04, 0.01, 60)
    write_arch(
        run / "arch.json",
        dataclasses.replace(
            found, unit="ms", predicted=1.0, device=device, table="9f2c", table_error=error
        ),
    )
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").unlink()
    config["model"] = {"arch": str(run / "arch.json")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    main(["--run", str(run), "--formats", "onnx"])
    predicted = report_of(run)["predicted"]
    assert predicted["ms"] == 1.0
    assert predicted["table_error"] == {"mean": 0.04, "noise": 0.01, "networks": 60}
    out = capsys.readouterr().out
    assert f"predicted 1 ms on {device}; the table errs by 4.0% on average" in out
    assert said in out


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (1.005, "as predicted: the difference is within the noise of measuring"),
        (1.05, "5.0% more than predicted, no more than twice its usual error"),
        (0.8, "20.0% less than predicted, more than twice its usual error"),
    ],
)
def test_a_difference_is_judged_by_the_error_of_the_table(ms, words):
    assert TableError(0.04, 0.01, 60).compare(1.0, ms) == words


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((-0.1, 0.0, 3), "table_error.mean is -0.1"),
        ((0.1, math.nan, 3), "table_error.noise is nan"),
        ((0.1, 0.1, 0), "table_error.networks is 0"),
    ],
)
def test_an_error_that_no_table_has_is_refused(values, reason):
    with pytest.raises(UserError, match=reason):
        TableError(*values)


def test_the_averaged_weights_are_shipped(trained):
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt")
    network = load_network(trained / "checkpoints" / "best.ckpt")
    name = "classifier.weight"
    shipped = network.state_dict()[name]
    assert torch.equal(shipped, checkpoint["state_dict"][f"network.{name}"])
    assert not torch.equal(shipped, checkpoint["current_model_state"][f"network.{name}"])


def test_a_file_with_a_wrong_weight_is_kept_reported_and_fails(run, monkeypatch, capsys):
    def write_wrong(shipment, path):
        wrong = copy.deepcopy(shipment.network)
        with torch.no_grad():
            wrong.blocks[0][0].conv_dw.weight[0, 0, 2, 2] += 0.5
        write_pt2(dataclasses.replace(shipment, network=wrong), path)

    monkeypatch.setitem(FORMATS, "pt2", dataclasses.replace(FORMATS["pt2"], write=write_wrong))
    assert status_of("--run", run, "--formats", "pt2", "--checkpoint", "last") == 1
    entry = report_of(run)["formats"]["pt2"]
    assert entry["max_difference"] > entry["tolerance"]
    assert "logits differ" in entry["failure"]
    assert (run / "network.pt2").exists()
    error = capsys.readouterr().err
    assert error.startswith("failed: pt2: logits differ by")
    assert error.count("\n") == 1


IMAGES = torch.randn(70, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def compared(trained, spoil, half=False):
    """The check of a file that computes what PyTorch computes, but for what ``spoil`` does."""
    network = load_network(trained / "checkpoints" / "best.ckpt")

    def run(images):
        logits = network(images).detach().clone()
        spoil(logits, images)
        return (logits,)

    kind = dataclasses.replace(FORMATS["pt2"], open_file=lambda path: run, half=half)
    return compare_outputs(network, kind, Path("network.pt2"), IMAGES)


def set_last(value, alone):
    """Spoil the last image of each batch, or of those that are run one by one."""

    def spoil(logits, images):
        if (len(images) == 1) == alone:
            logits[-1, -1] = value

    return spoil


def test_a_file_that_agrees_passes(trained):
    report = compared(trained, lambda logits, images: None)
    assert report["failure"] == ""
    assert report["max_difference"] <= 1e-5  # one image is computed in another order
    assert (report["agreement"], report["images"]) == (1.0, 70)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("alone", "where"), [(True, "the file, run one by one,"), (False, "the file")]
)
def test_one_logit_that_is_not_finite_fails_the_check(trained, value, alone, where):
    report = compared(trained, set_last(value, alone))
    assert report == {"failure": f"{where} gives logits that are not finite"}


def test_a_network_that_is_not_finite_itself_fails_the_check(trained):
    network = load_network(trained / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        network.classifier.bias[3] = math.inf
    kind = dataclasses.replace(
        FORMATS["pt2"], open_file=lambda path: lambda images: (network(images),)
    )
    report = compare_outputs(network, kind, Path("network.pt2"), IMAGES)
    assert report == {"failure": "PyTorch gives logits that are not finite"}


def test_images_that_are_run_one_by_one_are_compared_too(trained):
    def spoil(logits, images):
        if len(images) == 1:
            logits += 1.0

    report = compared(trained, spoil)
    assert report["max_difference"] == pytest.approx(1.0, rel=1e-4)
    assert report["failure"].startswith("logits differ by 1 ")


def test_logits_within_the_tolerance_do_not_excuse_other_classes(trained, monkeypatch):
    """Both must hold: small differences, and the same best class."""
    monkeypatch.setattr("retrain.export.comparison.LOGIT_TOLERANCE", 100.0)

    def spoil(logits, images):
        logits[:, 0] = logits.amax(1) + 1

    report = compared(trained, spoil)
    assert report["max_difference"] <= report["tolerance"]
    assert report["agreement"] < 0.9
    assert report["failure"]


def test_the_same_classes_do_not_excuse_other_logits(trained):
    report = compared(trained, lambda logits, images: logits.mul_(1.01))
    assert report["agreement"] == 1.0
    assert report["max_difference"] > report["tolerance"]
    assert report["failure"]


def test_float16_is_allowed_its_roundings_and_no_more(trained):
    largest = load_network(trained / "checkpoints" / "best.ckpt")(IMAGES).abs().max().item()
    for share, passes in ((0.01, True), (0.03, False)):
        shift = share * max(1.0, largest)
        report = compared(
            trained, lambda logits, images, shift=shift: logits.add_(shift), half=True
        )
        assert (report["failure"] == "") == passes


def test_a_file_whose_runtime_is_elsewhere_is_not_called_verified(run, monkeypatch, capsys):
    absent = dataclasses.replace(FORMATS["pt2"], platform="darwin", latency=lambda *file: 1.0)
    monkeypatch.setitem(FORMATS, "pt2", absent)
    monkeypatch.setattr("sys.platform", "linux")
    main(["--run", str(run), "--formats", "pt2"])
    entry = report_of(run)["formats"]["pt2"]
    assert entry["unverified"] == "converted, not verified: it runs on a Mac alone"
    assert not entry.keys() & {"agreement", "max_difference", "latency_ms"}
    assert entry["unverified"] in capsys.readouterr().out


def test_a_folder_is_counted_and_hashed_file_by_file(run, monkeypatch):
    def write_folder(shipment, path):
        path.mkdir()
        write_pt2(shipment, path / "program.pt2")
        (path / "labels.txt").write_text("0 1")

    kind = dataclasses.replace(
        FORMATS["pt2"],
        suffix="folder",
        write=write_folder,
        read_metadata=lambda path: read_pt2_metadata(path / "program.pt2"),
        platform="elsewhere",
    )
    monkeypatch.setitem(FORMATS, "pt2", kind)
    for _ in range(2):  # the second replaces the first
        main(["--run", str(run), "--formats", "pt2"])
    entry, folder = report_of(run)["formats"]["pt2"], run / "network.folder"
    assert entry["bytes"] == 3 + (folder / "program.pt2").stat().st_size
    assert entry["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }
    assert not list(run.glob(".network*"))


def test_a_broken_onnx_graph_fails_the_check(trained, tmp_path):
    network = load_network(trained / "checkpoints" / "best.ckpt")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01")
    report = compare_outputs(
        network, FORMATS["onnx"], tmp_path / "broken.onnx", torch.zeros(2, 3, 8, 8)
    )
    assert report["failure"].startswith("onnx.checker:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--formats", "tflite"],
            "unknown format 'tflite', known are onnx, pt2, executorch, openvino, coreml",
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


def test_a_format_whose_package_is_missing_says_what_to_install(run, monkeypatch, capsys):
    absent = dataclasses.replace(FORMATS["executorch"], package="no_such_package")
    monkeypatch.setitem(FORMATS, "executorch", absent)
    assert status_of("--run", run, "--formats", "executorch") == 2
    assert capsys.readouterr().err == (
        "error: format executorch needs `pip install mnasnet-search[executorch]`\n"
    )


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
