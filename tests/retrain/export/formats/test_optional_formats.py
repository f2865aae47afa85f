"""Formats of packages that not everyone has: what their files say and compute, in their runtime."""

import sys

import pytest
import torch

from retrain.export.formats.formats import FORMATS
from retrain.export.formats.openvino_ir import FILE, measure_openvino, open_openvino
from retrain.export.formats.shipment import write_whole
from tests.helpers.exports import skip_without
from tests.helpers.shipments import IMAGES, told_shipment

# ExecuTorch and coremltools call functions that others deprecate; coremltools leaves folders to the
# garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]
HALF = {"coreml": 2e-2}
"""Tolerance of formats that compute in float16."""


@pytest.fixture(scope="module", params=["executorch", "litert", "openvino", "coreml"])
def written(request, tmp_path_factory):
    """A format's name, the network, and its file."""
    kind = FORMATS[request.param]
    skip_without(request.param)
    shipment = told_shipment()
    path = tmp_path_factory.mktemp("run") / f"network.{kind.suffix}"
    write_whole(lambda unfinished: kind.write(shipment, unfinished), path)
    return request.param, shipment, path


def test_a_file_says_what_it_was_given(written):
    name, shipment, path = written
    assert FORMATS[name].read_metadata(path) == shipment.metadata


@torch.no_grad()
def test_a_file_computes_what_pytorch_computes_for_any_batch(written):
    name, shipment, path = written
    if FORMATS[name].platform not in ("", sys.platform):
        pytest.skip(f"{name} runs on {FORMATS[name].platform} alone")
    run, tolerance = FORMATS[name].open_file(path), HALF.get(name, 1e-5)
    for batch in (IMAGES, IMAGES[:1]):
        expected = shipment.network(batch)
        torch.testing.assert_close(run(batch)[0], expected, atol=tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize("written", ["openvino"], indirect=True)
def test_openvino_has_names_and_a_time(written):
    import openvino

    model = openvino.Core().read_model(written[2] / FILE)
    assert (model.input(0).names, model.output(0).names) == ({"images"}, {"logits"})
    assert measure_openvino(written[2], 8) > 0


def test_openvino_refuses_a_broken_graph(tmp_path):
    skip_without("openvino")
    (tmp_path / FILE).write_text("<net")
    with pytest.raises(ValueError, match="OpenVINO: "):
        open_openvino(tmp_path)


@pytest.mark.parametrize("written", ["coreml"], indirect=True)
def test_coreml_takes_one_image(written, capfd):
    import coremltools

    description = coremltools.utils.load_spec(str(written[2])).description
    (images,), (logits,) = description.input, description.output
    assert (images.name, list(images.type.multiArrayType.shape)) == ("images", [1, 3, 8, 8])
    assert (logits.name, list(logits.type.multiArrayType.shape)) == ("logits", [1, 10])
    assert capfd.readouterr().err == ""
