"""Shipment: what is given to a format, and what a format is."""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from retrain.export.formats.metadata import Metadata
from supernet.errors import UserError, one_line
from supernet.files.writing import put_in_place
from supernet.latency.models.trained_graph import EXPORTED, program_of

MAX_WORDS = 240
"""Letters of what a library says that are shown."""

Told = Mapping[str, Any] | None
"""What is known of a file only when it is written, for export.json."""
Outputs = tuple[Tensor, ...]
Runner = Callable[[Tensor], Outputs]
"""Images (B, 3, R, R) to the outputs that the metadata name, computed by the exported file."""


def as_outputs(given: Tensor | Outputs) -> Outputs:
    """Outputs of a network, of which one alone stands without a tuple."""
    return (given,) if isinstance(given, Tensor) else tuple(given)


def one_by_one(run: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> Outputs:
    """Outputs for images (B, 3, R, R) of what takes one (1, 3, R, R) at a time."""
    outputs = [run(image[None]) for image in images]
    return tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))


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
    full_precision: bool = False
    """Whether float16 would spoil its outputs."""

    @property
    def side(self) -> int:
        """Side R of the images, px."""
        return self.metadata["input_shape"][-1]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return list(self.metadata["outputs"])

    def program(self) -> ExportedProgram:
        """The network as a graph, for any batch."""
        return program_of(self.network, self.side)


@dataclass(frozen=True)
class Quantized:
    """A network in int8, before it is a file."""

    run: Runner
    write: Callable[[Metadata, Path], Told]
    """Write it as a file that says so much of itself."""


@dataclass(frozen=True)
class Format:
    """A kind of file that a network can be shipped as."""

    suffix: str
    """Of the file; or of a folder, where a runtime wants several files."""
    write: Callable[[Shipment, Path], Told]
    open_file: Callable[[Path], Runner]
    """Check the file by its own rules and open it; ValueError when it breaks them."""
    read_metadata: Callable[[Path], Metadata]
    """What the file says of its network; ValueError when it says nothing that can be read."""
    package: str
    """What must be installed."""
    latency: Callable[[Path, int], float] | None = None
    """Time of one image in ms, from the file and the image's side in px."""
    half: bool = False
    """Whether the file computes in float16, where that does not spoil its outputs."""
    suppresses: bool = False
    """Whether it has an operator that suppresses boxes, and so holds a whole detector."""
    platform: str = ""
    """``sys.platform`` on which alone its runtime is; empty where there is no such limit."""
    quantize: Callable[[Shipment, Path, Tensor], Quantized] | None = None
    """The network in int8, from its file of floats and images (N, 3, R, R) to calibrate on."""
    of_int8: Callable[[Shipment, nn.Module], Quantized] | None = None
    """The same of a network that torchao has made int8, as after a training that knew of it."""


@contextmanager
def in_one_line(failure: str, way_out: str = "") -> Iterator[None]:
    """A block in which a library may fail in any way of its own, which a line then tells.

    Args:
        failure: begins the line: what fails.
        way_out: ends it.

    Raises:
        UserError: with the reason between the two; one of our own is handed on.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{failure}: {_reason_of(error)}{way_out}") from error


def _reason_of(error: BaseException) -> str:
    """What a library says of its failure, in a line: the one of its first cause that tells most."""
    while error.__cause__:
        error = error.__cause__
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with places in its code, and ends with the operator.
    telling = [line for line in lines if re.search(r"\b(operat|op\b|node)", line, re.IGNORECASE)]
    words = one_line(next(iter(telling or lines), "no reason given"))
    shown = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."
    return f"{shown} ({type(error).__name__})"


def write_whole(write: Callable[[Path], Told], target: Path) -> Mapping[str, Any]:
    """Write a file that appears whole or not at all, and hand on what its writer tells.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    # Exporters know no atomic writing, and some write several files.
    try:
        with tempfile.TemporaryDirectory(".tmp", f".{target.name}.", target.parent) as folder:
            temporary = Path(folder) / target.name
            told = write(temporary)
            put_in_place(temporary, target)
            return told or {}
    except OSError as error:
        if error.errno is None:
            raise  # of a library, which reads and writes no file
        raise UserError(
            f"cannot write {target}: {error.strerror}; an earlier file is as it was: make room or"
            " mend the folder, then run the same command again"
        ) from None
