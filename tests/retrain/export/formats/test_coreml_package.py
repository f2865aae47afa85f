"""Core ML's package: converted and read back anywhere; what it computes only a Mac tells."""

import sys

import pytest
import torch

from retrain.export.formats.coreml_package import (
    PLATFORM,
    open_coreml,
    read_coreml_metadata,
    write_coreml,
)
from tests.helpers.shipments import IMAGES, told_shipment

coremltools = pytest.importorskip("coremltools", reason="pip install mnasnet-search[coreml]")
# Of coremltools' own making: a call of its deprecated function, and folders that it leaves to the
# garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Function _TORCH_OPS_REGISTRY:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    shipment = told_shipment()
    path = tmp_path_factory.mktemp("run") / "network.mlpackage"
    write_coreml(shipment, path)
    return shipment, path


def test_the_package_takes_one_image_and_says_what_it_was_given(written, capfd):
    shipment, path = written
    assert read_coreml_metadata(path) == shipment.metadata
    description = coremltools.utils.load_spec(str(path)).description
    (images,), (logits,) = description.input, description.output
    assert (images.name, list(images.type.multiArrayType.shape)) == ("images", [1, 3, 8, 8])
    assert (logits.name, list(logits.type.multiArrayType.shape)) == ("logits", [1, 10])
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != PLATFORM, reason="Core ML predicts on a Mac alone")
@torch.no_grad()
def test_the_package_computes_what_pytorch_computes(written):
    shipment, path = written
    found = open_coreml(path)(IMAGES)[0]
    torch.testing.assert_close(found, shipment.network(IMAGES), atol=2e-2, rtol=2e-2)
