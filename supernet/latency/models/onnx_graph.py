"""ONNX graphs of a part or of a whole network, built by hand. No torch.

torch.onnx.export takes 10 s or more for a network; these graphs take milliseconds, which is what
makes a table of thousands of layers affordable. They hold the operators that the exporter writes
for ``network.Network``, with each batch norm folded into the convolution before it, as
ONNX Runtime does when it loads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from supernet.cost.timed_layers import Head, StageLayer, Stem, TimedLayer, stem_and_head
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, output_size

OPSET = 20
"""What torch.onnx.export writes by default."""
IR_VERSION = 10

State = Mapping[str, NDArray[np.float32]]
"""A network's state dict as arrays: ``conv_stem.weight``, ``blocks.0.1.conv_dw.weight``..."""


@dataclass(frozen=True)
class _Features:
    """A tensor (1, channels, size, size) of the graph."""

    name: str
    channels: int
    size: int


class _Graph:
    """Nodes and initializers, appended in the order of computation.

    Without a state dict, weights are made by ConstantOfShape nodes: the file stays small, and the
    runtime turns them into ordinary weights when it loads it. Each tensor gets a value of its own,
    lest the runtime merges the weights of alike layers, and one over its fan-in, so that
    activations neither explode nor underflow.
    """

    def __init__(self, activation: str, state: State | None, eps: float) -> None:
        self.activation, self.state, self.eps = activation, state, eps
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Append an initializer and return its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        """Append a vector of indices and return its name."""
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int) -> str:
        """Append a weight without a state dict and return its name."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1e4
        value = np.array([(1 + 1e-4 * len(self.nodes)) / fan_in], np.float32)
        return self.add(
            "ConstantOfShape", self.integers(*shape), value=numpy_helper.from_array(value)
        )

    def affine(self, layer: str, norm: str, *shape: int) -> tuple[str, str]:
        """Weight and bias of a convolution or linear layer, its batch norm folded in."""
        if self.state is None:
            return self.weight(*shape), self.weight(shape[0])
        weight = self.state[f"{layer}.weight"]
        if not norm:
            return self.constant(weight), self.constant(self.state[f"{layer}.bias"])
        scale = self.state[f"{norm}.weight"] / np.sqrt(self.state[f"{norm}.running_var"] + self.eps)
        bias = self.state[f"{norm}.bias"] - self.state[f"{norm}.running_mean"] * scale
        return self.constant(weight * scale.reshape(-1, 1, 1, 1)), self.constant(bias)

    def convolve(
        self,
        x: _Features,
        layer: str,
        norm: str,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> _Features:
        """A padded convolution and its batch norm."""
        shape = (outputs, x.channels // groups, kernel, kernel)
        name = self.add(
            "Conv",
            x.name,
            *self.affine(layer, norm, *shape),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            dilations=[1, 1],
            group=groups,
        )
        return _Features(name, outputs, output_size(x.size, stride))

    def activate(self, x: _Features) -> _Features:
        """The network's activation."""
        if self.activation == "relu":
            name = self.add("Relu", x.name)
        else:
            low, high = (self.constant(np.array(limit, np.float32)) for limit in (0, 6))
            name = self.add("Clip", x.name, low, high)
        return _Features(name, x.channels, x.size)

    def squeeze_excite(self, x: _Features, scope: str, hidden: int) -> _Features:
        """Gate the channels by two 1x1 convolutions of their means (Hu et al. 2018)."""
        if not hidden:
            return x
        mean = self.add("ReduceMean", x.name, self.integers(2, 3), keepdims=1)
        gate = self.convolve(_Features(mean, x.channels, 1), f"{scope}se.conv_reduce", "", hidden)
        gate = _Features(self.add("Relu", gate.name), hidden, 1)
        gate = self.convolve(gate, f"{scope}se.conv_expand", "", x.channels)
        name = self.add("Mul", x.name, self.add("Sigmoid", gate.name))
        return _Features(name, x.channels, x.size)

    def pool_shortcut(self, x: _Features, outputs: int, stride: int) -> str:
        """3x3 average pool, channels zero-padded or cut at the end."""
        name = self.add(
            "AveragePool",
            x.name,
            kernel_shape=[3, 3],
            strides=[stride] * 2,
            pads=[1] * 4,
            count_include_pad=0,
            ceil_mode=0,
        )
        if outputs > x.channels:
            missing = self.integers(0, 0, 0, 0, 0, outputs - x.channels, 0, 0)
            return self.add("Pad", name, missing, self.constant(np.array(0, np.float32)))
        if outputs < x.channels:
            start, end, axis, step = (self.integers(n) for n in (0, outputs, 1, 1))
            return self.add("Slice", name, start, end, axis, step)
        return name

    def layer(self, x: _Features, layer: Layer, scope: str = "") -> _Features:
        """One layer of a stage, shortcut included; ``scope`` is the prefix of its weights."""
        op = self.dense if layer.op == "conv" else self.separable
        y = op(x, layer, scope)
        if layer.skip == "none":
            return y
        pooled = layer.skip == "pool"
        shortcut = self.pool_shortcut(x, layer.outputs, layer.stride) if pooled else x.name
        return _Features(self.add("Add", y.name, shortcut), y.channels, y.size)

    def dense(self, x: _Features, layer: Layer, scope: str) -> _Features:
        """A plain convolution."""
        y = self.convolve(
            x, f"{scope}conv", f"{scope}bn1", layer.outputs, layer.kernel, layer.stride
        )
        return self.squeeze_excite(self.activate(y), scope, layer.se_hidden)

    def separable(self, x: _Features, layer: Layer, scope: str) -> _Features:
        """A depthwise convolution and a projection, in an mbconv behind an expansion."""
        norm, project, last = "bn1", "conv_pw", "bn2"
        if layer.op == "mbconv":
            x = self.activate(self.convolve(x, f"{scope}conv_pw", f"{scope}bn1", layer.hidden))
            norm, project, last = "bn2", "conv_pwl", "bn3"
        y = self.convolve(
            x,
            f"{scope}conv_dw",
            f"{scope}{norm}",
            layer.hidden,
            layer.kernel,
            layer.stride,
            groups=layer.hidden,
        )
        y = self.squeeze_excite(self.activate(y), scope, layer.se_hidden)
        return self.convolve(y, f"{scope}{project}", f"{scope}{last}", layer.outputs)

    def stem(self, x: _Features, stem: Stem) -> _Features:
        """The first convolution."""
        return self.activate(self.convolve(x, "conv_stem", "bn1", stem.outputs, 3, stem.stride))

    def head(self, x: _Features, head: Head) -> str:
        """The last convolution, global pooling and classifier."""
        x = self.activate(self.convolve(x, "conv_head", "bn2", head.outputs))
        mean = self.add("ReduceMean", x.name, self.integers(2, 3), keepdims=1)
        flat = self.add("Reshape", mean, self.integers(1, head.outputs))
        weights = self.affine("classifier", "", head.classes, head.outputs)
        return self.add("Gemm", flat, *weights, transB=1)

    def model(self, x: _Features, output: str, shape: tuple[int, ...]) -> onnx.ModelProto:
        """The graph from one input to one output."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [
                helper.make_tensor_value_info(
                    x.name, TensorProto.FLOAT, (1, x.channels, x.size, x.size)
                )
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            self.initializers,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def part_model(part: TimedLayer) -> onnx.ModelProto:
    """The graph of one part alone, with made-up weights, for batch 1."""
    if isinstance(part, StageLayer):
        return layer_model(part.layer, part.activation)
    graph, x = _Graph(part.activation, None, 0.0), _Features("x", part.inputs, part.size)
    if isinstance(part, Head):
        return graph.model(x, graph.head(x, part), (1, part.classes))
    y = graph.stem(x, part)
    return graph.model(x, y.name, (1, y.channels, y.size, y.size))


def layer_model(
    layer: Layer, activation: str = "relu", state: State | None = None, eps: float = 1e-3
) -> onnx.ModelProto:
    """The graph of one layer alone, for batch 1.

    Args:
        layer: what to compute.
        activation: relu or relu6.
        state: the layer's own state dict (``conv_dw.weight``, ``bn1.running_var``...); without
            one, weights are made up.
        eps: of the batch norms.
    """
    graph, x = _Graph(activation, state, eps), _Features("x", layer.inputs, layer.size)
    y = graph.layer(x, layer)
    return graph.model(x, y.name, (1, y.channels, y.size, y.size))


def network_model(spec: NetSpec, state: State | None = None) -> onnx.ModelProto:
    """The graph of a whole network, images (1, 3, R, R) to logits (1, classes).

    Args:
        spec: what to compute.
        state: the state dict of its ``Network``; without one, weights are made up.
    """
    graph = _Graph(spec.activation, state, spec.bn_eps)
    images = _Features("x", 3, spec.resolution)
    stem, head = stem_and_head(spec)
    x = graph.stem(images, stem)
    for number, stage in enumerate(spec.stage_layers()):
        for index, layer in enumerate(stage):
            x = graph.layer(x, layer, f"blocks.{number}.{index}.")
    return graph.model(images, graph.head(x, head), (1, spec.classes))
