"""The files that a network can be shipped as: how each is written, checked and opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from supernet.latency.models.torch_modules import pte_program
from supernet.latency.this_machine import measure_onnx
from supernet.network.network import Network

MAX_BATCH = 1024
"""Images that a file of any batch size takes at once."""

Runner = Callable[[Tensor], Tensor]
"""Images (B, 3, R, R) to logits (B, classes), computed by the exported file."""


@dataclass(frozen=True)
class Format:
    """A kind of file that a network can be shipped as."""

    suffix: str
    write: Callable[[Network, Path], None]
    open_file: Callable[[Path], Runner]
    """Check the file by its own rules and open it; ValueError when it breaks them."""
    package: str
    """What must be installed."""
    latency: Callable[[Path, int], float] | None = None
    """Time of one image in ms, from the file and the image's side in px."""


def _program(network: Network) -> ExportedProgram:
    """The network as a graph, for any batch up to ``MAX_BATCH``."""
    side = network.spec.resolution
    shapes = ({0: Dim("batch", min=1, max=MAX_BATCH)},)
    return torch.export.export(network, (torch.zeros(2, 3, side, side),), dynamic_shapes=shapes)


def write_onnx(network: Network, path: Path) -> None:
    """One ONNX file, weights included, for any batch size."""
    torch.onnx.export(
        _program(network),
        (),
        path,
        input_names=["images"],
        output_names=["logits"],
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def open_onnx(path: Path) -> Runner:
    """Check the graph and its shapes, and open it in ONNX Runtime."""
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.checker: {error}") from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def write_pt2(network: Network, path: Path) -> None:
    """A torch.export program for any batch size; it needs torch, but none of our code."""
    torch.export.save(_program(network), path)


def open_pt2(path: Path) -> Runner:
    """Open the program as a user would."""
    return torch.export.load(path).module()


def write_executorch(network: Network, path: Path) -> None:
    """An ExecuTorch program for one image, its layers delegated to XNNPACK."""
    side = network.spec.resolution
    path.write_bytes(pte_program(network, torch.zeros(1, 3, side, side)))


def open_executorch(path: Path) -> Runner:
    """Open the program in ExecuTorch's runtime, which takes one image at a time."""
    from executorch.runtime import Runtime

    forward = Runtime.get().load_program(path).load_method("forward")
    return lambda images: torch.cat([forward.execute([image[None]])[0] for image in images])


FORMATS = {
    "onnx": Format("onnx", write_onnx, open_onnx, "onnxscript", measure_onnx),
    "pt2": Format("pt2", write_pt2, open_pt2, "torch"),
    "executorch": Format("pte", write_executorch, open_executorch, "executorch"),
}
