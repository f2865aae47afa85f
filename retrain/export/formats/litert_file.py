"""LiteRT, formerly TensorFlow Lite: a file for phones and boards, made in its own environment.

The file is for one image at a time. Behind the model lies a zip archive, which LiteRT passes over
and any unzip reads: ``metadata.json``, and ``labels.txt`` as TensorFlow Lite's tools have it.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrain.export.formats.litert_environment import run_child
from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Format, Outputs, Quantized, Runner, Shipment

METADATA, LABELS = "metadata.json", "labels.txt"


def write_litert(shipment: Shipment, path: Path) -> None:
    """A model in float32."""
    model = _converted(shipment, torch.zeros(0, 3, shipment.side, shipment.side))
    _write(model, shipment.metadata, path)


def _converted(shipment: Shipment, images: Tensor) -> np.ndarray:
    """The network as a model, in int8 if there are images to calibrate on."""
    image = torch.zeros(1, 3, shipment.side, shipment.side)
    program = io.BytesIO()
    torch.export.save(torch.export.export(shipment.network, (image,)), program)
    content = np.frombuffer(program.getvalue(), np.uint8)
    names = np.array(shipment.outputs)
    return run_child("convert", program=content, images=images.numpy(), outputs=names)["model"]


def _write(model: np.ndarray, metadata: Metadata, path: Path) -> None:
    path.write_bytes(model.tobytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(metadata, allow_nan=False))
        archive.writestr(LABELS, "\n".join(metadata["classes"]))


def quantize_litert(shipment: Shipment, floats: Path, images: Tensor) -> Quantized:
    """The network in int8, by LiteRT's own quantizer; images and logits stay floats."""
    model = _converted(shipment, images)
    return Quantized(
        _runner(model, shipment.outputs), lambda metadata, path: _write(model, metadata, path)
    )


def open_litert(path: Path) -> Runner:
    """Open the file in LiteRT's runtime, which takes one image at a time."""
    return _runner(np.fromfile(path, np.uint8), list(read_litert_metadata(path)["outputs"]))


def _runner(model: np.ndarray, outputs: Sequence[str]) -> Runner:
    def run(images: Tensor) -> Outputs:
        found = run_child("run", model=model, images=images.numpy())
        return tuple(torch.from_numpy(found[name]) for name in outputs)

    return run


def read_litert_metadata(path: Path) -> Metadata:
    """The archive's ``metadata.json``."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(METADATA))


def measure_litert(path: Path, side: int) -> float:
    """CPU time of one image in ms, on one thread."""
    return run_child("measure", model=np.fromfile(path, np.uint8))["ms"].item()


LITERT = Format(
    "tflite",
    write_litert,
    open_litert,
    read_litert_metadata,
    "torch",
    latency=measure_litert,
    quantize=quantize_litert,
)
