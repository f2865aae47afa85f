"""int8: what it is calibrated on, and which files must not ship."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from retrain.export.export import export
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.shipment import Format, Quantized, Shipment
from retrain.export.int8_files import Int8Inputs, export_int8, prepared
from retrain.export.quantization import (
    LEAST_IMAGES,
    Quantization,
    accuracy_failure,
    calibration_images,
    compare_quantized,
    judged_accuracy,
)
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError

LOGITS = 10 * torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
IMAGES = torch.arange(100.0)
"""Numbers of rows of ``LOGITS``, which stand for images."""


def logits_of(images):
    return LOGITS[images.long()]


def compared(spoil):
    logits = copy.deepcopy(LOGITS)
    spoil(logits)
    return compare_quantized(logits_of, lambda images: (logits[images.long()],), IMAGES)


def test_small_differences_pass():
    report = compared(lambda logits: logits.mul_(1.05))
    assert report["failure"] == ""
    assert report["relative_difference"] == pytest.approx(0.05, rel=1e-3)
    assert (report["agreement"], report["images"]) == (1.0, 100)


def one_logit(logits):
    logits[0] -= 5.0 * (logits[0] == logits[0].min())  # the best class stays what it is
    logits[0, logits[0].argmin()] -= 10.0


def other_classes(logits):
    """The two best classes of ten images change places where they are nearly the same."""
    values, places = logits.topk(2)
    near = (values[:, 0] - values[:, 1]).argsort()[:10]
    logits[near, places[near, 1]] = values[near, 0] + 1e-3


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda logits: logits.mul_(1.2), "differ by 20.0% of their length"),
        (one_logit, "one by 15 "),
        (other_classes, "90.0% of images keep their class"),
        (lambda logits: logits[3].fill_(torch.inf), "not finite"),
    ],
    ids=["all logits", "one logit", "classes", "infinite"],
)
def test_each_gate_is_one_that_a_file_can_fail(spoil, reason):
    assert reason in compared(spoil)["failure"]


class Labelled:
    """Test images of which the network knows all, and the int8 form all but some."""

    def __init__(self, number):
        self.inner = SimpleNamespace(
            setup=lambda stage: None,
            train_dataloader=lambda: DataLoader(TensorDataset(IMAGES[:number]), batch_size=8),
        )

    def test_dataloader(self):
        return list(zip(IMAGES.split(30), LOGITS.argmax(1).split(30), strict=True))

    def moved(self, batch, device):
        return batch


def test_accuracy_of_int8_stands_beside_that_of_floats():
    def wrong_twice(images):
        logits = logits_of(images)
        logits[(images == 3) | (images == 95)] *= -1
        return (logits,)

    judged = judged_accuracy(logits_of, wrong_twice, Labelled(100))
    assert judged == {
        "split": "test",
        "images": 100,
        "accuracy": 0.98,
        "fp32_accuracy": 1.0,
        "points_lost": 2.0,
    }
    assert accuracy_failure(judged, Quantization(max_accuracy_loss=2)) == ""
    assert "0.9800, 2.00 points below 1.0000" in accuracy_failure(judged, Quantization())


def test_too_few_images_to_calibrate_on_are_refused():
    reason = f"at least {LEAST_IMAGES} training images to calibrate on, the data have 31: add"
    with pytest.raises(UserError, match=reason):
        calibration_images(Labelled(31), 256)


def test_calibration_images_are_the_same_each_time():
    first, again = (
        calibration_images(RunData(Digits(resolution=8), "retrain", seed=seed), 48)
        for seed in (0, 1)
    )
    assert first.shape == (48, 3, 8, 8)
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"calibration_images": 31}, "--calibration_images is 31, it must be at least 32"),
        ({"max_accuracy_loss": -1.0}, "--max_accuracy_loss is -1 points, it must be between 0"),
        ({"max_accuracy_loss": float("nan")}, "--max_accuracy_loss is nan points"),
    ],
)
def test_bad_settings_are_named(settings, reason):
    with pytest.raises(UserError, match=reason):
        Quantization(**settings)


def test_an_opset_without_scales_of_channels_is_refused_before_anything_is_read(tmp_path):
    said = r"int8 needs opset 13 .* --opset is 12: give --opset 13"
    for formats in (None, ["pt2", "onnx"]):
        with pytest.raises(UserError, match=said):
            export(tmp_path / "none", formats, opset=12, quantization=Quantization())
    with pytest.raises(UserError, match="no run in"):
        export(tmp_path / "none", ["pt2"], opset=12, quantization=Quantization())
    with pytest.raises(UserError, match="no run in"):
        export(tmp_path / "none", opset=13, quantization=Quantization())


@pytest.mark.parametrize(("allowed", "status"), [(1.0, "3.00 points below"), (3.0, "")])
def test_a_file_that_loses_too_much_is_kept_but_must_not_ship(
    tmp_path, monkeypatch, allowed, status
):
    def wrong_thrice(images):
        logits = logits_of(images).clone()
        logits[images >= 97] = -logits[images >= 97]
        return (logits,)

    def write(metadata, path):
        path.write_text(json.dumps(metadata))

    kind = Format(
        "pt2",
        write=write,
        open_file=lambda path: lambda images: (logits_of(images),),
        read_metadata=lambda path: json.loads(path.read_text()),
        package="torch",
        quantize=lambda shipment, floats, images: Quantized(wrong_thrice, write),
    )
    monkeypatch.setitem(FORMATS, "pt2", kind)
    inputs = Int8Inputs(Quantization(max_accuracy_loss=allowed), Labelled(100), IMAGES[:40])
    shipment = Shipment(logits_of, {"classes": ["a"]})
    entry = export_int8(shipment, inputs, IMAGES, tmp_path, "pt2")
    assert status in entry["failure"]
    assert bool(status) == bool(entry["failure"])
    told = json.loads((tmp_path / "network.int8.pt2").read_text())
    assert told["accuracy"] == entry["accuracy"]
    assert (told["accuracy"]["accuracy"], told["calibration_images"]) == (0.97, 40)


@pytest.mark.parametrize(
    ("formats", "data", "reason"),
    [
        (["pt2"], Labelled(100), "pt2 has no --quantize int8: give --formats onnx"),
        (["onnx"], None, "there are only generated ones: give --data.root DIR"),
        (["onnx", "pt2"], Labelled(5), "the data have 5: add images"),
    ],
)
def test_what_int8_needs_is_said_before_anything_is_written(tmp_path, formats, data, reason):
    checked = SimpleNamespace(run_data=data)
    with pytest.raises(UserError, match=reason):
        prepared(Quantization(), formats, SimpleNamespace(ssdlite=None), checked, tmp_path)


def test_a_detector_has_no_int8(tmp_path):
    with pytest.raises(UserError, match="a detector is not exported in int8"):
        prepared(Quantization(), ["onnx"], SimpleNamespace(ssdlite={}), None, tmp_path)
