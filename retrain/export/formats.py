"""The files that a network can be shipped as: how each is written, read back and opened."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from onnx import helper
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from retrain.export.metadata import Metadata, as_text, as_values
from retrain.export.opset import EXPORTED, opset_of, set_opset
from supernet.latency.models.torch_modules import pte_program
from supernet.latency.this_machine import measure_onnx

MAX_BATCH = 1024
"""Images that a file of any batch size takes at once."""
EXTRA_FILE = "metadata.json"
"""What a torch.export program keeps its metadata in."""

Outputs = tuple[Tensor, ...]
Runner = Callable[[Tensor], Outputs]
"""Images (B, 3, R, R) to the outputs that the metadata name, computed by the exported file."""


@dataclass(frozen=True)
class Shipment:
    """A network and what its file says of it."""

    network: nn.Module
    """In evaluation mode; takes images (B, 3, R, R)."""
    metadata: Metadata
    opset: int = EXPORTED
    """Of an ONNX file."""
    operators: Mapping[Any, Callable[..., Any]] | None = None
    """ONNX's forms of operators that are the network's own, for torch's exporter."""

    @property
    def side(self) -> int:
        """Side R of the images, px."""
        return self.metadata["input_shape"][-1]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return list(self.metadata["outputs"])


@dataclass(frozen=True)
class Format:
    """A kind of file that a network can be shipped as."""

    suffix: str
    write: Callable[[Shipment, Path], None]
    open_file: Callable[[Path], Runner]
    """Check the file by its own rules and open it; ValueError when it breaks them."""
    read_metadata: Callable[[Path], Metadata]
    """What the file says of its network; ValueError when it says nothing that can be read."""
    package: str
    """What must be installed."""
    latency: Callable[[Path, int], float] | None = None
    """Time of one image in ms, from the file and the image's side in px."""


def _program(shipment: Shipment) -> ExportedProgram:
    """The network as a graph, for any batch up to ``MAX_BATCH``."""
    images = torch.zeros(2, 3, shipment.side, shipment.side)
    shapes = ({0: Dim("batch", min=1, max=MAX_BATCH)},)
    return torch.export.export(shipment.network, (images,), dynamic_shapes=shapes)


def write_onnx(shipment: Shipment, path: Path) -> None:
    """One ONNX file, weights included, for any batch size.

    Raises:
        UserError: when the opset cannot describe the network.
    """
    torch.onnx.export(
        _program(shipment),
        (),
        path,
        input_names=["images"],
        output_names=shipment.outputs,
        opset_version=max(shipment.opset, EXPORTED),
        custom_translation_table=dict(shipment.operators or {}),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
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
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: tuple(map(torch.from_numpy, session.run(None, {name: images.numpy()})))


def read_onnx_metadata(path: Path) -> Metadata:
    """The file's ``metadata_props``, and the opset in which its operators are written."""
    model = onnx.load(path)
    told = as_values({one.key: one.value for one in model.metadata_props})
    return {**told, "opset": opset_of(model)}


def write_pt2(shipment: Shipment, path: Path) -> None:
    """A torch.export program for any batch size; it needs torch, but none of our code."""
    extra = {EXTRA_FILE: json.dumps(shipment.metadata, allow_nan=False)}
    torch.export.save(_program(shipment), path, extra_files=extra)


def open_pt2(path: Path) -> Runner:
    """Open the program as a user would."""
    module = torch.export.load(path).module()
    return lambda images: (module(images),)


def read_pt2_metadata(path: Path) -> Metadata:
    """The program's extra file ``metadata.json``."""
    extra = {EXTRA_FILE: ""}
    torch.export.load(path, extra_files=extra)
    return json.loads(extra[EXTRA_FILE])


def write_executorch(shipment: Shipment, path: Path) -> None:
    """An ExecuTorch program for one image, its layers delegated to XNNPACK."""
    image = torch.zeros(1, 3, shipment.side, shipment.side)
    text = as_text(shipment.metadata)
    path.write_bytes(pte_program(shipment.network, image, constant_methods=text))


def open_executorch(path: Path) -> Runner:
    """Open the program in ExecuTorch's runtime, which takes one image at a time."""
    from executorch.runtime import Runtime

    forward = Runtime.get().load_program(path).load_method("forward")
    return lambda images: (torch.cat([forward.execute([image[None]])[0] for image in images]),)


def read_executorch_metadata(path: Path) -> Metadata:
    """What the program's constant methods give."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    names = program.method_names - {"forward"}
    return as_values({name: program.load_method(name).execute([])[0] for name in names})


FORMATS = {
    "onnx": Format("onnx", write_onnx, open_onnx, read_onnx_metadata, "onnxscript", measure_onnx),
    "pt2": Format("pt2", write_pt2, open_pt2, read_pt2_metadata, "torch"),
    "executorch": Format(
        "pte", write_executorch, open_executorch, read_executorch_metadata, "executorch"
    ),
}
