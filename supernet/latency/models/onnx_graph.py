"""ONNX graphs of a layer or of a whole network, built by hand, with made-up weights. No torch.

torch.onnx.export takes 10 s or more for a network; these graphs take milliseconds, which is what
makes a table of thousands of layers affordable. They hold the operators that the exporter writes
for ``network.Network``, with each batch norm folded into the convolution before it, as ONNX Runtime
does when it loads a file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from supernet.cost.timed_layers import Head, Stem, TimedLayer, stem_and_head
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, output_size

OPSET = 20
"""What torch.onnx.export writes by default."""
IR_VERSION = 10


@dataclass(frozen=True)
class _Features:
    """A tensor (1, channels, size, size) of the graph."""

    name: str
    channels: int
    size: int


class Graph:
    """Nodes and initializers, appended in the order of computation.

    Weights are made by ConstantOfShape nodes: the file stays small, and the runtime turns them into
    ordinary weights when it loads it. Each tensor gets a value of its own, lest the runtime merges
    the weights of alike layers, and one over its fan-in, so that activations neither explode nor
    underflow.
    """

    def __init__(self, activation: str) -> None:
        self.activation = activation
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
        """Append a made-up weight and return its name."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1e4
        value = np.array([(1 + 1e-4 * len(self.nodes)) / fan_in], np.float32)
        return self.add(
            "ConstantOfShape", self.integers(*shape), value=numpy_helper.from_array(value)
        )

    def convolve(
        self, x: _Features, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> _Features:
        """A padded convolution with a bias, which is what its batch norm comes to."""
        name = self.add(
            "Conv",
            x.name,
            self.weight(outputs, x.channels // groups, kernel, kernel),
            self.weight(outputs),
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

    def squeeze_excite(self, x: _Features, hidden: int) -> _Features:
        """Gate the channels by two 1x1 convolutions of their means (Hu et al. 2018)."""
        if not hidden:
            return x
        mean = self.add("ReduceMean", x.name, self.integers(2, 3), keepdims=1)
        gate = self.convolve(_Features(mean, x.channels, 1), hidden)
        gate = _Features(self.add("Relu", gate.name), hidden, 1)
        gate = self.convolve(gate, x.channels)
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

    def layer(self, x: _Features, layer: Layer) -> _Features:
        """One layer of a stage, shortcut included."""
        y = self.dense(x, layer) if layer.op == "conv" else self.separable(x, layer)
        if layer.skip == "none":
            return y
        pooled = layer.skip == "pool"
        shortcut = self.pool_shortcut(x, layer.outputs, layer.stride) if pooled else x.name
        return _Features(self.add("Add", y.name, shortcut), y.channels, y.size)

    def dense(self, x: _Features, layer: Layer) -> _Features:
        """A plain convolution."""
        y = self.activate(self.convolve(x, layer.outputs, layer.kernel, layer.stride))
        return self.squeeze_excite(y, layer.se_hidden)

    def separable(self, x: _Features, layer: Layer) -> _Features:
        """A depthwise convolution and a projection, in an mbconv behind an expansion."""
        if layer.op == "mbconv":
            x = self.activate(self.convolve(x, layer.hidden))
        y = self.convolve(x, layer.hidden, layer.kernel, layer.stride, groups=layer.hidden)
        y = self.squeeze_excite(self.activate(y), layer.se_hidden)
        return self.convolve(y, layer.outputs)

    def stem(self, x: _Features, stem: Stem) -> _Features:
        """The first convolution."""
        return self.activate(self.convolve(x, stem.outputs, 3, stem.stride))

    def head(self, x: _Features, head: Head) -> str:
        """The last convolution, global pooling and classifier."""
        x = self.activate(self.convolve(x, head.outputs))
        mean = self.add("ReduceMean", x.name, self.integers(2, 3), keepdims=1)
        flat = self.add("Reshape", mean, self.integers(1, head.outputs))
        weight, bias = self.weight(head.classes, head.outputs), self.weight(head.classes)
        return self.add("Gemm", flat, weight, bias, transB=1)

    def model(self, x: _Features, output: str, *shape: int) -> onnx.ModelProto:
        """The graph from one input to one output, for batch 1."""
        image = (1, x.channels, x.size, x.size)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, image)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, *shape))],
            self.initializers,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def layer_model(layer: TimedLayer) -> onnx.ModelProto:
    """The graph of one layer alone: a feature map (1, inputs, size, size) to its output."""
    graph, x = Graph(layer.activation), _Features("x", layer.inputs, layer.size)
    if isinstance(layer, Head):
        return graph.model(x, graph.head(x, layer), layer.classes)
    y = graph.stem(x, layer) if isinstance(layer, Stem) else graph.layer(x, layer.layer)
    return graph.model(x, y.name, y.channels, y.size, y.size)


def network_model(spec: NetSpec) -> onnx.ModelProto:
    """The graph of a whole network: images (1, 3, R, R) to logits (1, classes)."""
    graph, images = Graph(spec.activation), _Features("x", 3, spec.resolution)
    stem, head = stem_and_head(spec)
    x = graph.stem(images, stem)
    for layer in spec.layers():
        x = graph.layer(x, layer)
    return graph.model(images, graph.head(x, head), spec.classes)
