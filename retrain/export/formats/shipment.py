"""Shipment: what is given to a format, and what a format is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from retrain.export.formats.metadata import Metadata
from retrain.export.formats.opset import EXPORTED

MAX_BATCH = 1024
"""Images that a file of any batch size takes at once."""

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

    def program(self) -> ExportedProgram:
        """The network as a graph, for any batch up to ``MAX_BATCH``."""
        images = torch.zeros(2, 3, self.side, self.side)
        shapes = ({0: Dim("batch", min=1, max=MAX_BATCH)},)
        return torch.export.export(self.network, (images,), dynamic_shapes=shapes)


@dataclass(frozen=True)
class Format:
    """A kind of file that a network can be shipped as."""

    suffix: str
    """Of the file; or of a folder, where a runtime wants several files."""
    write: Callable[[Shipment, Path], None]
    open_file: Callable[[Path], Runner]
    """Check the file by its own rules and open it; ValueError when it breaks them."""
    read_metadata: Callable[[Path], Metadata]
    """What the file says of its network; ValueError when it says nothing that can be read."""
    package: str
    """What must be installed."""
    latency: Callable[[Path, int], float] | None = None
    """Time of one image in ms, from the file and the image's side in px."""
    half: bool = False
    """Whether the file computes in float16."""
    platform: str = ""
    """``sys.platform`` on which alone its runtime is; empty where there is no such limit."""
