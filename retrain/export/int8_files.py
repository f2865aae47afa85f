"""The int8 form of a format's file: written, judged on test images, compared with floats, timed."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from retrain.export.comparison import RUNTIME_FAILS, compare_metadata
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import Metadata
from retrain.export.formats.shipment import Format, Quantized, Shipment, in_one_line, write_whole
from retrain.export.images import CheckImages
from retrain.export.prediction import Prediction, beside
from retrain.export.quantization import (
    Method,
    Quantization,
    accuracy_failure,
    calibration_images,
    compare_quantized,
    judged_accuracy,
)
from retrain.export.quantized_training import (
    QuantizedTraining,
    conversion_failure,
    converted,
    fake_quantized,
    training_of,
)
from supernet.command.output import say
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.checkpoint import TrainedNetwork, file_sha256


@dataclass
class Int8Inputs:
    """What int8 files are made with and judged on."""

    settings: Quantization
    data: RunData
    images: Tensor
    """Calibrated on (N, 3, R, R), where there is no training."""
    training: QuantizedTraining | None = None
    _trained: tuple[GraphModule, nn.Module] | None = field(default=None, init=False)
    """The network of all formats after its training, and in int8."""

    def makes(self, name: str) -> bool:
        """Whether there is an int8 file of a format."""
        return has_int8(name, self.settings.method)

    def quantized(self, kind: Format, shipment: Shipment, floats: Path) -> Quantized:
        """The network in int8, for a format's file beside that of ``floats``."""
        if self.training is None:
            assert kind.quantize is not None
            return kind.quantize(shipment, floats, self.images)
        if self._trained is None:
            network = fake_quantized(shipment)
            self.training.run(network, shipment.network, self.data)
            self._trained = network, converted(network)
        assert kind.of_int8 is not None
        return kind.of_int8(shipment, self._trained[1])

    @property
    def words(self) -> str:
        """How the network becomes int8."""
        if self.training is None:
            return f"calibrated on {len(self.images)} training images"
        return f"trained for it for {self.training.num_steps} steps"

    def told(self) -> Metadata:
        """What a file says of how it became int8."""
        if self.training is None:
            return {"precision": "int8", "calibration_images": len(self.images)}
        return {"precision": "int8", "quantized_training_steps": self.training.num_steps}

    def conversion_failure(self, images: Tensor) -> str:
        """Why the network in int8 is not what was trained, on images (N, 3, R, R), or empty."""
        return conversion_failure(*self._trained, images) if self._trained else ""


def has_int8(name: str, method: Method) -> bool:
    """Whether a format has a file of int8 that is made so."""
    kind = FORMATS[name]
    return bool(kind.quantize if method == "int8" else kind.of_int8)


def prepared(
    settings: Quantization,
    formats: Sequence[str],
    trained: TrainedNetwork,
    checked: CheckImages,
    run: Path,
    trusted: Sequence[str] = (),
) -> Int8Inputs:
    """What int8 files need, before any file is written.

    Raises:
        UserError: when no format has int8, the data hold no training images, or too few, a package
            is missing, or the run does not tell how it was trained.
    """
    method = settings.method
    if trained.ssdlite is not None:
        raise UserError("a detector is not exported in int8: leave --quantize out")
    if not any(has_int8(name, method) for name in formats):
        able = " or ".join(name for name in FORMATS if has_int8(name, method))
        raise UserError(f"{', '.join(formats)} has no --quantize {method}: give --formats {able}")
    if checked.run_data is None:
        raise UserError(
            "int8 is calibrated on training images, and there are only generated ones: give"
            " --data.root DIR, or leave --quantize out"
        )
    by_torchao = method == "qat" or "executorch" in formats
    if by_torchao and not all(map(importlib.util.find_spec, ("executorch", "torchao"))):
        raise UserError(f"--quantize {method} needs `pip install mnasnet-search[executorch]`")
    images = calibration_images(checked.run_data, settings.calibration_images)
    if method == "int8":
        return Int8Inputs(settings, checked.run_data, images)
    training = training_of(run / "config.yaml", checked.run_data, trusted)
    return Int8Inputs(settings, checked.run_data, images, training)


def export_int8(
    shipment: Shipment,
    int8: Int8Inputs,
    images: Tensor,
    run: Path,
    name: str,
    predicted: Prediction | None = None,
) -> dict[str, Any]:
    """Write the int8 form of a format's file and say what it is, on images (N, 3, R, R) too."""
    kind, method = FORMATS[name], int8.settings.method
    floats, target = (run / f"network.{form}{kind.suffix}" for form in ("", f"{method}."))
    say(f"{name}: writing {target}, {int8.words}")
    small = int8.quantized(kind, shipment, floats)
    accuracy = judged_accuracy(shipment.network, small.run, int8.data)
    told = int8.told() | {"accuracy": accuracy}
    metadata = shipment.metadata | told
    written = write_whole(lambda path: small.write(metadata, path), target)
    entry: dict[str, Any] = {"file": target.name, "bytes": target.stat().st_size}
    entry |= {"sha256": file_sha256(target), **told, **written}
    entry |= {"opset": shipment.opset} if name == "onnx" else {}
    entry |= _compare_int8(shipment.network, kind, target, images)
    entry["failure"] = (
        int8.conversion_failure(images)
        or entry["failure"]
        or accuracy_failure(accuracy, int8.settings)
        or compare_metadata(kind, target, metadata, shipment.opset)
    )
    if not entry["failure"]:
        _say_int8(name, entry)
        if kind.latency:
            entry["latency_ms"] = kind.latency(target, shipment.side)
            compared = beside(predicted, name, entry["latency_ms"], "int8")
            say(f"{name}: int8 takes {entry['latency_ms']:.3g} ms for one image{compared}")
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
        f" {entry['agreement']:.1%} of images keep their class{delegation(entry)}"
    )


def delegation(entry: Mapping[str, Any]) -> str:
    """How much of a program its delegate computes, in words; empty where there is none."""
    share = entry.get("delegated_share")
    return "" if share is None else f", {share:.1%} of operators in XNNPACK"
