"""ONNX graphs in int8: every tensor behind QuantizeLinear and DequantizeLinear (QDQ).

The form that static quantisation writes, per channel for weights: ONNX Runtime turns it into
integer kernels when it loads it. Scales are made up, as weights are: they change no time.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from supernet.cost.timed_layers import TimedLayer
from supernet.latency.models.onnx_graph import Graph, layer_model, network_model
from supernet.space.spec import NetSpec

WEIGHT_OP = "ConstantOfShape"
"""The op that makes up weights."""
WEIGHTED = ("Conv", "Gemm")
_INDEX_INPUTS = {"ReduceMean": 1, "Reshape": 1, "Pad": 1, "Slice": 1}
"""Place of the first input that is no feature map."""
_ACTIVATIONS = ("Relu", "Clip")
_FEATURE_SCALE, _WEIGHT_SCALE = 0.05, 0.01


def model_of(subject: TimedLayer | NetSpec, precision: str = "fp32") -> onnx.ModelProto:
    """The graph of a layer alone or of a whole network, in fp32 or int8, for batch 1."""
    model = network_model(subject) if isinstance(subject, NetSpec) else layer_model(subject)
    return quantised(model) if precision == "int8" else model


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with made-up weights, quantised; its input and output are float."""
    graph = _Int8(model.graph)
    graph.run()
    del model.graph.node[:]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.initializers[len(model.graph.initializer) :])
    return model


class _Int8(Graph):
    """Appends the nodes of a graph again, with a pair of QDQ nodes behind each."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__(activation="")
        self.graph = graph
        self.initializers = list(graph.initializer)
        self.shapes = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.made = {node.output[0]: node for node in graph.node if node.op_type == WEIGHT_OP}
        self.names = {graph.input[0].name: ""}

    def run(self) -> None:
        """Go through all nodes in the order of computation."""
        start = self.graph.input[0].name
        self.names[start] = self._pair(start)
        for node in self.graph.node:
            if node.op_type == WEIGHT_OP:
                continue
            if node.op_type == "Clip":  # the range of the integers clips, as quantisers have it
                self.names[node.output[0]] = self._pair(node.input[0])
                continue
            inputs = [self._input(node, place) for place in range(len(node.input))]
            del node.input[:]
            node.input.extend(inputs)
            self.nodes.append(node)
            name = node.output[0]
            self.names[name] = name if self._stays_float(node) else self._pair(name)
        # A layer ends in integers as it would within a network.
        self.graph.output[0].name = self.names[self.graph.output[0].name]

    def _input(self, node: onnx.NodeProto, place: int) -> str:
        name = node.input[place]
        if place >= _INDEX_INPUTS.get(node.op_type, len(node.input)):
            return name
        if node.op_type in WEIGHTED and place > 0:
            return self._weight(name, is_bias=place == 2)
        return self.names[name]

    def _stays_float(self, node: onnx.NodeProto) -> bool:
        """Logits, or what goes into an activation and is fused with it."""
        readers = [one for one in self.graph.node if node.output[0] in one.input]
        if not readers:
            return node.op_type == "Gemm"
        return all(one.op_type in _ACTIVATIONS for one in readers)

    def _pair(self, name: str) -> str:
        scale, zero = np.array(_FEATURE_SCALE, np.float32), np.array(0, np.uint8)
        settings = (self.constant(scale), self.constant(zero))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", name, *settings), *settings)

    def _weight(self, name: str, is_bias: bool) -> str:
        """An integer tensor of the same shape with a scale for each output channel."""
        maker = self.made[name]
        channels = int(self.shapes[maker.input[0]][0])
        kind = np.int32 if is_bias else np.int8
        # A value of its own for each tensor, lest alike ones are merged.
        value = numpy_helper.from_array(np.array([1 + len(self.nodes) % 100], kind))
        made = self.add(WEIGHT_OP, maker.input[0], value=value)
        scale = _FEATURE_SCALE * _WEIGHT_SCALE if is_bias else _WEIGHT_SCALE
        scales = self.constant(np.full(channels, scale, np.float32))
        zeros = self.constant(np.zeros(channels, kind))
        return self.add("DequantizeLinear", made, scales, zeros, axis=0)
