"""ONNX graphs in int8, by ONNX Runtime's quantizer: of a latency table, and of a shipped network.

Every tensor stands behind QuantizeLinear and DequantizeLinear (QDQ), of which runtimes make integer
kernels when they load the file. Features are unsigned, which x86 computes faster and others as
fast; weights are signed, with a scale for each output channel; logits stay floats.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorsData,
    create_calibrator,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from supernet.cost.timed_layers import TimedLayer
from supernet.latency.models.onnx_graph import layer_model, network_model
from supernet.space.spec import NetSpec

WEIGHT_OP = "ConstantOfShape"
"""The op that makes up weights."""
OLDEST_OPSET = 13
"""Of scales for each channel."""
_MADE_UP_RANGE = (np.float32(0), np.float32(12.75))
"""Of features whose weights are made up: it changes no time."""


def model_of(subject: TimedLayer | NetSpec, precision: str = "fp32") -> onnx.ModelProto:
    """The graph of a layer alone or of a whole network, in fp32 or int8, for batch 1."""
    model = network_model(subject) if isinstance(subject, NetSpec) else layer_model(subject)
    return _made_up(model) if precision == "int8" else model


def quantized(model: onnx.ModelProto, ranges: TensorsData) -> onnx.ModelProto:
    """A graph of floats in int8; its inputs and outputs stay floats.

    Args:
        model: of opset ``OLDEST_OPSET`` or above, its weights initializers.
        ranges: least and largest value of each feature map.
    """
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def measured_ranges(path: Path, batches: Iterable[NDArray[np.float32]]) -> TensorsData:
    """Least and largest value of each feature map of a file, over batches (B, 3, R, R)."""
    with tempfile.TemporaryDirectory() as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(path, augmented_model_path=augmented)
        calibrator.collect_data(_Reader(calibrator.model.graph.input[0].name, batches))
        return calibrator.compute_data()


class _Reader(CalibrationDataReader):
    """Batches as ONNX Runtime's calibration asks for them."""

    def __init__(self, name: str, batches: Iterable[NDArray[np.float32]]) -> None:
        self.feeds: Iterator[dict[str, Any]] = ({name: batch} for batch in batches)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the input's name; None after the last."""
        return next(self.feeds, None)


def _made_up(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with made-up weights in int8, its weights made up again: the file stays small."""
    made = [node for node in model.graph.node if node.op_type == WEIGHT_OP]
    sizes = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = {node.output[0]: sizes[node.input[0]] for node in made}
    for node in made:
        model.graph.node.remove(node)
        value = numpy_helper.to_array(node.attribute[0].t)[0]
        array = np.full(weights[node.output[0]], value, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    names = [model.graph.input[0].name, *(node.output[0] for node in model.graph.node)]
    ranges = TensorsData(CalibrationMethod.MinMax, dict.fromkeys(names, _MADE_UP_RANGE))
    small = quantized(model, ranges)
    _make_up(small.graph, {f"{name}_quantized": size for name, size in weights.items()})
    return small


def _make_up(graph: onnx.GraphProto, sizes: dict[str, NDArray[np.int64]]) -> None:
    """Put nodes that make up weights in place of initializers."""
    arrays = [one for one in graph.initializer if one.name in sizes]
    assert len(arrays) == len(sizes), "the quantizer has named its weights otherwise"
    for number, array in enumerate(arrays):
        graph.initializer.remove(array)
        shape = numpy_helper.from_array(sizes[array.name], f"{array.name}_shape")
        graph.initializer.append(shape)
        # A value of its own for each tensor, lest alike ones are merged.
        kind = helper.tensor_dtype_to_np_dtype(array.data_type)
        value = numpy_helper.from_array(np.array([1 + number % 100], kind))
        node = helper.make_node(WEIGHT_OP, [shape.name], [array.name], value=value)
        graph.node.insert(0, node)
