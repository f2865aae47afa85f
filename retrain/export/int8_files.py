"""The int8 form of a format's file: written, judged on test images, compared with floats, timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from retrain.export.comparison import RUNTIME_FAILS, compare_metadata
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.shipment import Format, Shipment, in_one_line, write_whole
from retrain.export.images import CheckImages
from retrain.export.quantization import (
    Quantization,
    accuracy_failure,
    calibration_images,
    compare_quantized,
    judged_accuracy,
)
from supernet.command.output import say
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.checkpoint import TrainedNetwork, file_sha256


@dataclass(frozen=True)
class Int8Inputs:
    """What int8 files are made with and judged on."""

    settings: Quantization
    data: RunData
    images: Tensor
    """Calibrated on (N, 3, R, R)."""


def prepared(
    settings: Quantization, formats: Sequence[str], trained: TrainedNetwork, checked: CheckImages
) -> Int8Inputs:
    """What int8 files need, before any file is written.

    Raises:
        UserError: when no format has int8, or the data hold no training images, or too few.
    """
    if trained.ssdlite is not None:
        raise UserError("a detector is not exported in int8: leave --quantize out")
    if not any(FORMATS[name].quantize for name in formats):
        able = " or ".join(name for name, kind in FORMATS.items() if kind.quantize)
        raise UserError(f"{', '.join(formats)} has no int8: give --formats {able}")
    if checked.run_data is None:
        raise UserError(
            "int8 is calibrated on training images, and there are only generated ones: give"
            " --data.root DIR, or leave --quantize out"
        )
    images = calibration_images(checked.run_data, settings.calibration_images)
    return Int8Inputs(settings, checked.run_data, images)


def export_int8(
    shipment: Shipment, int8: Int8Inputs, images: Tensor, run: Path, name: str
) -> dict[str, Any]:
    """Write the int8 form of a format's file and say what it is, on images (N, 3, R, R) too."""
    kind = FORMATS[name]
    assert kind.quantize is not None
    floats, target = (run / f"network.{form}{kind.suffix}" for form in ("", "int8."))
    say(f"{name}: writing {target}, calibrated on {len(int8.images)} training images")
    small = kind.quantize(shipment, floats, int8.images)
    accuracy = judged_accuracy(shipment.network, small.run, int8.data)
    told = {"precision": "int8", "calibration_images": len(int8.images), "accuracy": accuracy}
    metadata = shipment.metadata | told
    write_whole(lambda path: small.write(metadata, path), target)
    entry: dict[str, Any] = {"file": target.name, "bytes": target.stat().st_size}
    entry |= {"sha256": file_sha256(target), **told}
    entry |= {"opset": shipment.opset} if name == "onnx" else {}
    entry |= _compare_int8(shipment.network, kind, target, images)
    entry["failure"] = (
        entry["failure"]
        or accuracy_failure(accuracy, int8.settings)
        or compare_metadata(kind, target, metadata, shipment.opset)
    )
    if not entry["failure"]:
        _say_int8(name, entry)
        if kind.latency:
            entry["latency_ms"] = kind.latency(target, shipment.side)
            say(f"{name}: int8 takes {entry['latency_ms']:.3g} ms for one image")
    return entry


def _compare_int8(network: nn.Module, kind: Format, path: Path, images: Tensor) -> dict[str, Any]:
    try:
        with in_one_line(RUNTIME_FAILS):
            return compare_quantized(network, kind.open_file(path), images)
    except UserError as error:
        return {"failure": str(error)}


def _say_int8(name: str, entry: Mapping[str, Any]) -> None:
    accuracy = entry["accuracy"]
    say(
        f"{name}: int8 has {entry['bytes'] / 1e6:.2f} MB, test accuracy {accuracy['accuracy']:.4f}"
        f" (fp32 {accuracy['fp32_accuracy']:.4f}), logits {entry['relative_difference']:.1%} off,"
        f" {entry['agreement']:.1%} of images keep their class"
    )
