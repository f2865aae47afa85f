"""ONNX: one file for any batch size, in an opset that the runtime knows."""

import re
from pathlib import Path

import onnx
from onnx import helper
from torch import Tensor

from retrain.export.formats.metadata import Metadata, as_text, as_values
from retrain.export.formats.opset import opset_of, set_opset
from retrain.export.formats.shipment import Format, Quantized, Runner, Shipment
from supernet.errors import UserError
from supernet.latency.models.onnx_int8 import OLDEST_OPSET
from supernet.latency.models.trained_graph import EXPORTED, int8_graph, open_graph, write_graph
from supernet.latency.this_machine import measure_onnx


def write_onnx(shipment: Shipment, path: Path) -> None:
    """One ONNX file, weights included, for any batch size.

    Raises:
        UserError: when the opset cannot describe the network.
    """
    opset = max(shipment.opset, EXPORTED)
    write_graph(shipment.program(), path, shipment.outputs, opset, shipment.operators)
    model = onnx.load(path)
    _name_batch(model.graph)
    set_opset(model, shipment.opset)
    helper.set_model_props(model, as_text(shipment.metadata))
    onnx.save(model, path)


def _name_batch(graph: onnx.GraphProto) -> None:
    """Call the axis of images ``batch``, wherever it is: the exporter numbers its symbols."""
    (images,) = graph.input
    symbol = re.escape(images.type.tensor_type.shape.dim[0].dim_param)
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(rf"\b{symbol}\b", "batch", dim.dim_param)


def open_onnx(path: Path) -> Runner:
    """Check the graph and its shapes, and open it in ONNX Runtime."""
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.checker: {error}") from None
    return open_graph(path)


def read_onnx_metadata(path: Path) -> Metadata:
    """The file's ``metadata_props``, and the opset in which its operators are written."""
    model = onnx.load(path)
    told = as_values({one.key: one.value for one in model.metadata_props})
    return {**told, "opset": opset_of(model)}


def check_int8_opset(opset: int) -> None:
    """Refuse an opset that has no scales for each channel, before any file is written.

    Raises:
        UserError: naming the oldest that has.
    """
    if opset < OLDEST_OPSET:
        raise UserError(
            f"int8 needs opset {OLDEST_OPSET} for a scale of each channel, --opset is {opset}: give"
            f" --opset {OLDEST_OPSET} or more, or leave --quantize out"
        )


def quantize_onnx(shipment: Shipment, floats: Path, images: Tensor) -> Quantized:
    """The graph of a file in int8, by the quantizer that latency tables are measured with."""
    model = int8_graph(floats, images)

    def write(metadata: Metadata, path: Path) -> None:
        helper.set_model_props(model, as_text(metadata))
        onnx.save(model, path)

    return Quantized(open_graph(model.SerializeToString()), write)


ONNX = Format(
    "onnx",
    write_onnx,
    open_onnx,
    read_onnx_metadata,
    "onnxscript",
    latency=measure_onnx,
    suppresses=True,
    quantize=quantize_onnx,
)
