"""Opsets 11 to 20: graphs that mean the same in each, checked by ONNX and run by ONNX Runtime."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from retrain.export.export import main
from retrain.export.formats.onnx_file import write_onnx
from retrain.export.formats.opset import OPSETS, opset_of, set_opset
from retrain.export.formats.shipment import Shipment
from supernet.errors import UserError
from supernet.latency.models.trained_graph import EXPORTED
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

STAGES = (
    Stage("conv", 3, 1, 0.25, "pool", 8, 2, 2),
    Stage("sepconv", 5, 1, 0.25, "pool", 16, 1, 1),
    Stage("mbconv", 3, 3, 0.0, "identity", 16, 2, 1),
    Stage("mbconv", 5, 6, 0.25, "pool", 8, 2, 2),
)
SIDE = 16
IMAGES = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class Both(nn.Module):
    """Two networks that between them have every operator and activation of ours."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.networks = nn.ModuleList(
            Network(NetSpec(8, 2, STAGES, 32, 4, SIDE, activation))
            for activation in ("relu", "relu6")
        )

    def forward(self, images):
        return self.networks[0](images) + self.networks[1](images)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The graph as torch's exporter writes it, and what PyTorch computes."""
    path, network = tmp_path_factory.mktemp("opset") / "both.onnx", Both().eval()
    metadata = {"input_shape": ["batch", 3, SIDE, SIDE], "outputs": {"logits": []}}
    write_onnx(Shipment(network, metadata), path)
    with torch.no_grad():
        return onnx.load(path), network(IMAGES).numpy()


@pytest.mark.parametrize("opset", [number for number in OPSETS if number <= EXPORTED])
def test_every_older_opset_computes_the_same(exported, opset):
    model, expected = copy.deepcopy(exported[0]), exported[1]
    set_opset(model, opset)
    assert opset_of(model) == opset
    assert model.ir_version <= {11: 6, 12: 7, 13: 7, 14: 7}.get(opset, 8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for number in (1, 5):
        (found,) = session.run(None, {"images": IMAGES[:number].numpy()})
        np.testing.assert_allclose(found, expected[:number], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [number for number in OPSETS if number > EXPORTED])
def test_every_newer_opset_computes_the_same(exported, tmp_path, opset):
    network, path = Both().eval(), tmp_path / "both.onnx"
    metadata = {"input_shape": ["batch", 3, SIDE, SIDE], "outputs": {"logits": []}}
    write_onnx(Shipment(network, metadata, opset), path)
    assert opset_of(onnx.load(path)) == opset
    (found,) = onnxruntime.InferenceSession(path).run(None, {"images": IMAGES.numpy()})
    np.testing.assert_allclose(found, exported[1], atol=1e-5)


def test_the_graph_has_what_older_opsets_spell_otherwise(exported):
    operators = {node.op_type for node in exported[0].graph.node}
    assert {"ReduceMean", "Pad", "Reshape", "Clip", "Relu", "AveragePool", "Sigmoid"} <= operators


def test_the_batch_axis_has_its_name_wherever_it_is(exported):
    graph = exported[0].graph
    symbols = {
        dim.dim_param
        for value in (*graph.input, *graph.output, *graph.value_info)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }
    assert symbols == {"batch"}


def graph_of(*nodes, constants=()):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 0, 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [value], [result], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", EXPORTED)])


@pytest.mark.parametrize(
    ("node", "constants", "reason"),
    [
        (
            helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
            [helper.make_tensor("shape", TensorProto.INT64, [2], [0, 6])],
            "Reshape needs its attribute allowzero",
        ),
        (helper.make_node("ReduceMean", ["x", "x"], ["y"]), [], "the axes of ReduceMean are"),
        (helper.make_node("Mish", ["x"], ["y"]), [], "Mish"),
        (
            helper.make_node("ScatterND", ["x", "x", "x"], ["y"], reduction="max"),
            [],
            "ScatterND needs its attribute reduction",
        ),
    ],
)
def test_what_an_older_opset_cannot_say_is_refused(node, constants, reason):
    with pytest.raises(UserError, match=f"opset 12 does not describe .*{reason}.*--opset 18"):
        set_opset(graph_of(node, constants=constants), 12)


@pytest.mark.parametrize("opset", [10, 21, -1])
def test_other_opsets_are_refused(opset, tmp_path):
    with pytest.raises(UserError, match=f"opset is {opset}, allowed are 11 to 20"):
        main(["--run", str(tmp_path), "--opset", str(opset)])
