"""Hand-built graphs compute what the PyTorch network computes, with the exporter's operators."""

import dataclasses
import random
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from supernet.cost.timed_layers import StageLayer, timed_layers
from supernet.latency.models.onnx_graph import layer_model, network_model
from supernet.latency.models.onnx_int8 import WEIGHT_OP
from supernet.network.functional import pool_shortcut
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published_spec
from supernet.space.stage import Layer

SPACE = MnasSpace(
    base_filters=(16, 8, 24),
    base_layers=(1, 2, 2),
    strides=(1, 2, 2),
    resolution=16,
    stem_stride=1,
    stem=8,
    head=32,
    classes=10,
)
SPECS = {f"random-{seed}": SPACE.spec(SPACE.sample(random.Random(seed))) for seed in range(8)} | {
    name: published_spec(name).scaled(width=0.25, resolution=32, classes=7, stem_stride=1)
    for name in ("mnasnet_a1", "mobilenet_v2")
}


def run(model, x):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x.numpy()})[0]


def trained_network(spec):
    """Random running statistics, scales and shifts: fresh ones would hide a folding mistake."""
    torch.manual_seed(0)
    net = Network(spec).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.3)
    return net


def weights_in_order(module, x):
    """Weights and biases in the order of computation, batch norms folded into convolutions."""
    ran, kinds = [], (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d)
    hooks = [
        one.register_forward_hook(lambda one, *_: ran.append(one))
        for one in module.modules()
        if isinstance(one, kinds)
    ]
    expected = module(x).numpy()
    for hook in hooks:
        hook.remove()
    found = []
    for one in ran:
        if isinstance(one, torch.nn.BatchNorm2d):
            scale = one.weight / torch.sqrt(one.running_var + one.eps)
            found[-1] = one.bias - one.running_mean * scale
            found[-2] = found[-2] * scale.reshape(-1, 1, 1, 1)
        else:
            found += [one.weight, one.bias]
    return [tensor.numpy() for tensor in found], expected


def with_weights(model, arrays):
    """A graph with arrays in place of the weights that it makes up."""
    made = [node for node in model.graph.node if node.op_type == WEIGHT_OP]
    for node, array in zip(made, arrays, strict=True):
        model.graph.node.remove(node)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, node.output[0]))
    return model


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@torch.inference_mode()
def test_graph_with_a_networks_weights_gives_its_logits(spec):
    x = torch.randn(1, 3, spec.resolution, spec.resolution)
    arrays, expected = weights_in_order(trained_network(spec), x)
    found = run(with_weights(network_model(spec), arrays), x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_layer_graph_gives_its_blocks_features(seed):
    spec = SPECS[f"random-{seed}"]
    net = trained_network(spec)
    for block, layer in zip(
        (block for stage in net.blocks for block in stage), spec.layers(), strict=True
    ):
        x = torch.randn(1, layer.inputs, layer.size, layer.size)
        arrays, expected = weights_in_order(block, x)
        found = run(with_weights(layer_model(StageLayer(layer, spec.activation)), arrays), x)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("outputs", [8, 16, 24])
@pytest.mark.parametrize("stride", [1, 2])
def test_pool_shortcut_is_all_that_remains_when_the_convolutions_are_zero(outputs, stride):
    layer = Layer("sepconv", 3, 1, 0.0, "pool", 16, outputs, stride, 7)
    shapes = ((16, 1, 3, 3), (16,), (outputs, 16, 1, 1), (outputs,))
    zeros = [np.zeros(shape, np.float32) for shape in shapes]
    x = torch.randn(1, 16, 7, 7)
    expected = pool_shortcut(x, 16, outputs, stride).numpy()
    model = with_weights(layer_model(StageLayer(layer, "relu")), zeros)
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)


def test_made_up_weights_of_every_layer_give_finite_nonzero_outputs_of_a_small_file():
    spec = SPECS["mnasnet_a1"]
    for layer in timed_layers(spec):
        model = layer_model(layer)
        y = run(model, torch.rand(1, layer.inputs, layer.size, layer.size))
        assert np.isfinite(y).all()
        assert np.abs(y).max() > 1e-6
        assert len(model.SerializeToString()) < 10_000


def test_alike_layers_of_a_network_keep_weights_of_their_own():
    model = network_model(published_spec("mobilenet_v2"))
    fills = [
        node.attribute[0].t.raw_data
        for node in model.graph.node
        if node.op_type == "ConstantOfShape"
    ]
    assert len(set(fills)) == len(fills)


def test_layers_of_another_activation_are_other_layers():
    layer = next(iter(published_spec("mobilenet_v2").layers()))
    assert StageLayer(layer, "relu").key != StageLayer(layer, "relu6").key
    assert "Clip" in {node.op_type for node in layer_model(StageLayer(layer, "relu6")).graph.node}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("seed", [0, 1])
def test_operators_are_those_that_torch_exports(seed, activation):
    spec = dataclasses.replace(SPECS[f"random-{seed}"], activation=activation)
    images = torch.randn(1, 3, spec.resolution, spec.resolution)
    program = torch.onnx.export(Network(spec).eval(), (images,), dynamo=True, verbose=False)
    exported = Counter(node.op_type for node in program.model_proto.graph.node)
    built = Counter(node.op_type for node in network_model(spec).graph.node)
    del built["ConstantOfShape"]
    assert built == exported
