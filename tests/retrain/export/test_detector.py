"""Detectors as files: the boxes of torchvision's detector, from the file alone."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import nn

from retrain.detect.digit_boxes import DigitBoxes
from retrain.detect.ssdlite import SSDLite, make_detector
from retrain.export.comparison import compare_detections
from retrain.export.detector import DetectorGraph, kept
from retrain.export.export import main
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.shipment import write_whole
from retrain.export.written_files import exported_detector
from supernet.command.process import run_command
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from tests.helpers.documented import undocumented
from tests.helpers.exports import report_of, skip_without

SIDE = 64
SPEC = NetSpec.from_block_strings(
    [
        "r1_k3_s11_e1_i8_o8",
        "r1_k3_s22_e3_i8_o16",
        "r2_k3_s22_e6_i16_o16",
        "r1_k5_s22_e6_i16_o32_se0.25",
        "r1_k5_s22_e6_i32_o88_se0.25",
        "r1_k3_s11_e6_i88_o144",
    ],
    resolution=SIDE,
    classes=10,
)
"""MnasNet-small with fewer layers a block."""
DATA = {"resolution": SIDE, "train_images": 4, "val_images": 6, "test_images": 4}


def detector_for(ssdlite, spec=SPEC):
    """An untrained detector whose maps differ from place to place."""
    torch.manual_seed(0)
    detector = make_detector(Network(spec), ssdlite).eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return detector


def images(number, seed=0):
    return torch.randn(number, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "ssdlite",
    [
        SSDLite((8, 16), (16,), (0.2, 0.6)),
        SSDLite("paper", (16,), (0.1, 0.9)),
        SSDLite((16,), (), (0.3, 0.9)),
    ],
    ids=["strides", "paper", "one map"],
)
@torch.no_grad()
def test_the_graph_gives_the_boxes_of_torchvision(ssdlite):
    detector, batch = detector_for(ssdlite), images(3)
    expected = detector(list(batch))
    boxes, scores, labels = DetectorGraph(detector, SIDE).eval()(batch)
    for number, one in enumerate(expected):
        there = int((scores[number] > 0).sum())
        assert there == len(one["scores"])
        torch.testing.assert_close(scores[number, :there], one["scores"])
        torch.testing.assert_close(boxes[number, :there], one["boxes"], atol=1e-4, rtol=0)
        assert torch.equal(labels[number, :there], one["labels"])
        assert not boxes[number, there:].any()
        assert not labels[number, there:].any()


@torch.no_grad()
def test_an_image_without_detections_is_all_zero():
    detector = detector_for(SSDLite((16,), (), (0.3, 0.9)))
    detector.score_thresh = 0.9999
    for output in DetectorGraph(detector, SIDE).eval()(images(2)):
        assert output.shape[:2] == (2, 100)
        assert not output.any()


def test_suppression_keeps_the_best_of_overlapping_boxes_in_each_group():
    square, near, far = [0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60]
    boxes = torch.tensor([[square, near, far], [near, square, far]])
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.9, 0.1, 0.001]])
    mask = kept(boxes, scores, 0.55, 0.001)
    assert mask.tolist() == [[1, 0, 1], [1, 0, 0]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a detector's training, as far as an export reads it."""
    run = tmp_path_factory.mktemp("detector")
    ssdlite = SSDLite((8, 16), (16,), (0.2, 0.6))
    state = detector_for(ssdlite).state_dict()
    data = {"class_path": "retrain.detect.digit_boxes.DigitBoxes", "init_args": DATA}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": data, "wandb": {"mode": "disabled"}}))
    (run / "checkpoints").mkdir()
    checkpoint = {
        "spec": SPEC.to_json(),
        "ssdlite": dataclasses.asdict(ssdlite),
        "state_dict": {f"network.{name}": value for name, value in state.items()},
        "data": dataclasses.asdict(DigitBoxes(**DATA).description),
        "validation": {"map": 0.25},
    }
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    return run


@torch.no_grad()
def test_a_detector_is_shipped_and_says_how_it_is_used(run, monkeypatch):
    untimed = dataclasses.replace(FORMATS["onnx"], latency=lambda path, side: 1.25)
    monkeypatch.setitem(FORMATS, "onnx", untimed)
    main(["--run", str(run), "--opset", "11"])
    report = json.loads((run / "export.json").read_text())
    assert undocumented(run / "export.json") == set()
    entry = report["formats"]["onnx"]
    assert list(report["formats"]) == ["onnx"]
    assert (entry["failure"], entry["opset"], entry["images"]) == ("", 11, 6)
    assert entry["detections"] == 600
    assert entry["agreement"] >= 0.99

    session = onnxruntime.InferenceSession(run / "network.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["task"]) == "detection"
    assert json.loads(told["classes"]) == list("0123456789")
    assert json.loads(told["ssdlite"])["taps"] == [8, 16]
    assert json.loads(told["accuracy"]) == {"split": "val", "map": 0.25}
    assert {one.name: one.shape for one in session.get_outputs()} == {
        "boxes": ["batch", 100, 4],
        "scores": ["batch", 100],
        "labels": ["batch", 100],
    }
    batch = images(2, seed=1)
    boxes, scores, labels = session.run(None, {"images": batch.numpy()})
    expected = detector_for(SSDLite((8, 16), (16,), (0.2, 0.6)))(list(batch))
    for number, one in enumerate(expected):
        np.testing.assert_allclose(scores[number], one["scores"], atol=1e-5)
        same = labels[number] == one["labels"].numpy()
        assert same.mean() > 0.97  # nearly equal scores may change places
        difference = np.abs(boxes[number] - one["boxes"].numpy()).max(1)
        assert difference[same].max() < 1e-2 * SIDE


@pytest.mark.parametrize("name", ["openvino", "executorch", "litert", "coreml"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
@torch.no_grad()
def test_every_format_holds_as_much_of_a_detector_as_it_can(name, tmp_path):
    skip_without(name)
    detector, kind = detector_for(SSDLite((8, 16), (16,), (0.2, 0.6))), FORMATS[name]
    outputs = {"boxes": [], "scores": [], "labels": []}
    told = {"input_shape": ["batch", 3, SIDE, SIDE], "classes": ["0"], "outputs": outputs}
    exported = exported_detector(detector, SIDE, told, 18).held_by(kind)
    path = tmp_path / f"network.{kind.suffix}"
    write_whole(lambda unfinished: kind.write(exported.shipment, unfinished), path)
    assert kind.read_metadata(path) == exported.shipment.metadata
    if kind.platform in ("", sys.platform):
        report = exported.compare(kind, path, images(3))
        assert (report["failure"], report["detections"], report["agreement"]) == ("", 300, 1.0)
    if name == "coreml":
        import coremltools

        described = coremltools.utils.load_spec(str(path)).description.output
        shapes = {one.name: list(one.type.multiArrayType.shape) for one in described}
        assert shapes == {"boxes": [1, 504, 4], "scores": [1, 504, 10]}


@torch.no_grad()
def test_the_boxes_of_a_file_are_chosen_as_the_page_says(run, monkeypatch, capsys):
    main(["--run", str(run), "--formats", "pt2"])
    entry = report_of(run)["formats"]["pt2"]
    assert (entry["failure"], entry["detections"], entry["agreement"]) == ("", 600, 1.0)
    assert list(entry["outputs"]) == ["boxes", "scores"]
    assert "pt2: holds all boxes with their scores: what runs it is to" in capsys.readouterr().out
    page = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
    code = page.partition("## Detectors")[2].partition("```python\n")[2].partition("```")[0]
    image = images(1, seed=1)
    names = {"image": image}
    exec(code.replace("runs/NAME", str(run)), names)
    (expected,) = detector_for(SSDLite((8, 16), (16,), (0.2, 0.6)))(list(image))
    for name in ("scores", "labels", "boxes"):
        torch.testing.assert_close(names[f"found_{name}"], expected[name], atol=1e-4, rtol=0)


def test_a_detector_of_broken_settings_is_one_line(run, tmp_path, capsys):
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt")
    checkpoint["ssdlite"]["extras"] = (8,)
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: main(["--run", str(run), "--checkpoint", str(tmp_path / "other.ckpt")]))
    error = capsys.readouterr().err
    assert "other.ckpt is not a whole checkpoint of a retraining" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("spoil", "passes"),
    [
        (lambda boxes, scores, labels: (boxes, scores, labels), True),
        (lambda boxes, scores, labels: (boxes + 1, scores, labels), False),
        (lambda boxes, scores, labels: (boxes, scores * 0.99, labels), False),
        (lambda boxes, scores, labels: (boxes, scores, labels % 10 + 1), False),
        (lambda boxes, scores, labels: (boxes, scores * (scores > 0.105), labels), False),
        (lambda boxes, scores, labels: (boxes / 0, scores, labels), False),
    ],
    ids=["same", "boxes", "scores", "labels", "fewer", "not finite"],
)
def test_a_file_that_finds_other_boxes_fails(spoil, passes, tmp_path):
    detector = detector_for(SSDLite((16,), (), (0.3, 0.9)))
    graph = DetectorGraph(detector, SIDE).eval()
    kind = dataclasses.replace(
        FORMATS["onnx"], open_file=lambda path: lambda batch: spoil(*graph(batch))
    )
    report = compare_detections(detector, kind, tmp_path, images(3))
    assert (report["failure"] == "") is passes
