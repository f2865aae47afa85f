"""Comparison of a file with PyTorch: which differences it may have."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from retrain.export.comparison import compare_outputs
from retrain.export.formats.formats import FORMATS
from tests.helpers.shipments import told_shipment

IMAGES = torch.randn(70, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def compared(spoil, half=False):
    """The check of a file that computes what PyTorch computes, but for what ``spoil`` does."""
    network = told_shipment().network

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


def test_a_file_that_agrees_passes():
    report = compared(lambda logits, images: None)
    assert report["failure"] == ""
    assert report["max_difference"] <= 1e-5  # one image is computed in another order
    assert (report["agreement"], report["images"]) == (1.0, 70)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("alone", "where"), [(True, "the file, run one by one,"), (False, "the file")]
)
def test_one_logit_that_is_not_finite_fails_the_check(value, alone, where):
    report = compared(set_last(value, alone))
    assert report == {"failure": f"{where} gives logits that are not finite"}


def test_a_network_that_is_not_finite_itself_fails_the_check():
    network = told_shipment().network
    with torch.no_grad():
        network.classifier.bias[3] = math.inf
    kind = dataclasses.replace(
        FORMATS["pt2"], open_file=lambda path: lambda images: (network(images),)
    )
    report = compare_outputs(network, kind, Path("network.pt2"), IMAGES)
    assert report == {"failure": "PyTorch gives logits that are not finite"}


def test_images_that_are_run_one_by_one_are_compared_too():
    def spoil(logits, images):
        if len(images) == 1:
            logits += 1.0

    report = compared(spoil)
    assert report["max_difference"] == pytest.approx(1.0, rel=1e-4)
    assert report["failure"].startswith("logits differ by 1 ")


def test_logits_within_the_tolerance_do_not_excuse_other_classes(monkeypatch):
    """Both must hold: small differences, and the same best class."""
    monkeypatch.setattr("retrain.export.comparison.LOGIT_TOLERANCE", 100.0)

    def spoil(logits, images):
        logits[:, 0] = logits.amax(1) + 1

    report = compared(spoil)
    assert report["max_difference"] <= report["tolerance"]
    assert report["agreement"] < 0.9
    assert report["failure"]


def test_the_same_classes_do_not_excuse_other_logits():
    report = compared(lambda logits, images: logits.mul_(1.01))
    assert report["agreement"] == 1.0
    assert report["max_difference"] > report["tolerance"]
    assert report["failure"]


def test_float16_is_allowed_its_roundings_and_no_more():
    largest = told_shipment().network(IMAGES).abs().max().item()
    for share, passes in ((0.01, True), (0.03, False)):
        shift = share * max(1.0, largest)
        report = compared(lambda logits, images, shift=shift: logits.add_(shift), half=True)
        assert (report["failure"] == "") == passes


def test_a_broken_onnx_graph_fails_the_check(tmp_path):
    network = told_shipment().network
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01")
    report = compare_outputs(
        network, FORMATS["onnx"], tmp_path / "broken.onnx", torch.zeros(2, 3, 8, 8)
    )
    assert report["failure"].startswith("its runtime refuses it: onnx.checker:")


def test_what_a_runtime_says_of_a_file_is_one_line():
    def refuse(images):
        raise RuntimeError("Check failed at source.cc:7:\nUnsupported operator 'svd'\nat line 3")

    kind = dataclasses.replace(FORMATS["pt2"], open_file=lambda path: refuse)
    report = compare_outputs(told_shipment().network, kind, Path("network.pt2"), IMAGES)
    said = "its runtime refuses it: Unsupported operator 'svd' (RuntimeError)"
    assert report == {"failure": said}
