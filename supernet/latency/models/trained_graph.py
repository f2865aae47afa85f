"""Graphs of trained networks for any batch: torch.export's, and ONNX's in floats and in int8.

What a search judges its finalists in and what an export ships is one thing, made here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from supernet.latency.models.onnx_int8 import measured_ranges, quantized

EXPORTED = 18
"""Opset that torch's exporter speaks; it adds what newer opsets have, and takes nothing away."""
CALIBRATION_IMAGES = 256
"""Training images over which ranges of features are measured by default."""
CALIBRATION_BATCH = 32
"""Of these images at once."""


def program_of(network: nn.Module, side: int) -> ExportedProgram:
    """A network in evaluation mode as a program for images (B, 3, R, R), where ``side`` is R."""
    # A largest batch would be a guard in the program, which then refuses a larger one.
    shapes = ({0: Dim("batch", min=1)},)
    return torch.export.export(network, (torch.zeros(2, 3, side, side),), dynamic_shapes=shapes)


def write_graph(
    program: ExportedProgram,
    path: Path,
    outputs: Sequence[str],
    opset: int = EXPORTED,
    operators: Mapping[Any, Callable[..., Any]] | None = None,
) -> None:
    """Write a program as an ONNX file, weights included, whose input is called ``images``.

    Args:
        program: by ``program_of``.
        path: of the file.
        outputs: their names.
        opset: ``EXPORTED`` or above.
        operators: ONNX's forms of operators that are the network's own.
    """
    torch.onnx.export(
        program,
        (),
        path,
        input_names=["images"],
        output_names=list(outputs),
        opset_version=opset,
        custom_translation_table=dict(operators or {}),
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def int8_graph(floats: Path, images: Tensor) -> onnx.ModelProto:
    """The graph of a file in int8, its ranges of features those over ``images`` (N, 3, R, R)."""
    batches = (batch.numpy() for batch in images.split(CALIBRATION_BATCH))
    return quantized(onnx.load(floats), measured_ranges(floats, batches))


def open_graph(model: Path | bytes) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The outputs of a graph for images (B, 3, R, R), computed by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: tuple(map(torch.from_numpy, session.run(None, {name: images.numpy()})))
