"""OpenVINO's folder: what PyTorch computes, for any batch, under the names that it tells."""

import pytest
import torch

from retrain.export.formats.openvino_ir import (
    FILE,
    measure_openvino,
    open_openvino,
    read_openvino_metadata,
    write_openvino,
)
from tests.helpers.shipments import IMAGES, told_shipment

openvino = pytest.importorskip("openvino", reason="pip install mnasnet-search[openvino]")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    shipment = told_shipment()
    path = tmp_path_factory.mktemp("run") / "network.openvino"
    write_openvino(shipment, path)
    return shipment, path


@torch.no_grad()
def test_the_folder_computes_what_pytorch_computes_for_any_batch(written):
    shipment, path = written
    run = open_openvino(path)
    for batch in (IMAGES, IMAGES[:1]):
        torch.testing.assert_close(run(batch)[0], shipment.network(batch), atol=1e-5, rtol=1e-4)
    model = openvino.Core().read_model(path / FILE)
    assert (model.input(0).names, model.output(0).names) == ({"images"}, {"logits"})
    assert measure_openvino(path, 8) > 0


def test_the_graph_says_what_it_was_given(written):
    shipment, path = written
    assert read_openvino_metadata(path) == shipment.metadata


def test_a_broken_graph_is_refused_by_openvino(tmp_path):
    (tmp_path / FILE).write_text("<net")
    with pytest.raises(ValueError, match="OpenVINO: "):
        open_openvino(tmp_path)
