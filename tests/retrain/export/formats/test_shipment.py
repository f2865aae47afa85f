"""Shipments that a format cannot hold: a converter's own words, in one line."""

import gc

import pytest
import torch
from torch import nn

from retrain.export.formats.formats import FORMATS
from retrain.export.formats.shipment import Shipment, in_one_line
from supernet.errors import UserError
from tests.helpers.exports import skip_without

TOLD = {"input_shape": ["batch", 3, 8, 8], "outputs": {"logits": ["batch", "classes"]}}


class Bessel(nn.Module):
    """A function of the images that torch knows and no format does."""

    def forward(self, images):
        return torch.special.bessel_j0(images.flatten(1)[:, :10])


@pytest.mark.parametrize("name", ["onnx", "openvino", "coreml", "executorch", "litert"])
@pytest.mark.filterwarnings("ignore")
def test_an_operator_that_a_converter_does_not_know_is_named(name, tmp_path):
    skip_without(name)
    shipment = Shipment(Bessel().eval(), TOLD)
    with (
        pytest.raises(UserError, match=r"^it fails: .*bessel_j0.* \(\w+\); leave it$") as said,
        in_one_line("it fails", "; leave it"),
    ):
        FORMATS[name].write(shipment, tmp_path / "network")
    assert "\n" not in str(said.value)
    del said
    gc.collect()  # what coremltools leaves behind, while its warnings are passed over


def test_an_error_of_our_own_is_handed_on_and_a_long_one_cut():
    with pytest.raises(UserError, match=r"^opset 12$"), in_one_line("it fails"):
        raise UserError("opset 12")
    with (
        pytest.raises(UserError, match=r"^it fails: x{240}\.\.\. \(ValueError\)$"),
        in_one_line("it fails"),
    ):
        raise ValueError("x" * 300)
    with (
        pytest.raises(UserError, match=r"^it fails: no reason given \(OSError\)$"),
        in_one_line("it fails"),
    ):
        raise OSError
