"""Metadata: what a shipped file says of its network, so that it is used as it was trained.

A flat dictionary of JSON's values. Each format keeps it as text, every value as JSON under its own
name: in ONNX's ``metadata_props``, in a constant method of an ExecuTorch program, and whole in the
extra file ``metadata.json`` of a torch.export program.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from supernet.arch_records import Chance, package_versions
from supernet.data_description import DataDescription
from supernet.network.checkpoint import TrainedNetwork, file_sha256

Metadata = dict[str, Any]
Task = Literal["classification", "detection"]
EXPORTERS = (
    "onnx",
    "onnxscript",
    "onnxruntime",
    "executorch",
    "torchao",
    "openvino",
    "coremltools",
)
"""Packages that write files or check them."""
DEFAULT_BOXES = {
    "boxes": ["batch", "default boxes", "x1, y1, x2, y2 in px of the input"],
    "scores": ["batch", "default boxes", "classes, in their order"],
}
"""Outputs of a detector before its boxes are suppressed."""
UNKNOWN = "the datamodule prepares images by code of its own"


def describe(
    trained: TrainedNetwork, data: DataDescription, task: Task, accuracy: Mapping[str, Any]
) -> Metadata:
    """What a file says of a trained network.

    Args:
        trained: the network.
        data: names of its classes, and how images are prepared.
        task: which outputs it has.
        accuracy: ``split``, ``images`` where they are counted, and figures; empty where the network
            was not judged.
    """
    side = trained.spec.resolution
    described = {
        "task": task,
        "classes": list(data.classes),
        "input": "images",
        "input_shape": ["batch", 3, side, side],
        "input_layout": "NCHW, channels red, green, blue",
        "input_type": "float32",
        "input_range": [0.0, 1.0],
        **_preprocessing(data, task),
        **_outputs(task),
        "architecture": dataclasses.asdict(trained.spec),
        "block_strings": trained.spec.block_strings(),
        **({} if trained.ssdlite is None else {"ssdlite": dict(trained.ssdlite)}),
        "data_digest": data.digest,
        "accuracy": dict(accuracy),
        "trained_with": dict(trained.versions),
        "exported_with": exporter_versions(),
    }
    return as_values(as_text(described))


def _preprocessing(data: DataDescription, task: Task) -> Metadata:
    """How an image becomes the input: its values lie in ``input_range`` before mean and std."""
    if data.preprocessing is None:
        return {"preprocessing": UNKNOWN}
    fitted = "resize shorter side, crop centre"
    if task == "detection" and data.preprocessing.resize == data.preprocessing.crop:
        fitted = "pad right and bottom to a square by background, resize"
    steps = f"upright by EXIF, on background, RGB, {fitted}, mean and std"
    return {"preprocessing": steps, **dataclasses.asdict(data.preprocessing)}


def _outputs(task: Task) -> Metadata:
    if task == "classification":
        return {"outputs": {"logits": ["batch", "classes"]}}
    return {
        "outputs": {
            "boxes": ["batch", "detections", "x1, y1, x2, y2 in px of the input"],
            "scores": ["batch", "detections", "descending; 0 where there is no detection"],
            "labels": ["batch", "detections", "1 is the first of classes; 0 where there is none"],
        }
    }


def exporter_versions() -> dict[str, str]:
    """Versions of what is installed here of torch's packages and of ``EXPORTERS``."""
    return package_versions() | package_versions(EXPORTERS)


def as_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Each value as JSON."""
    return {name: json.dumps(value, allow_nan=False) for name, value in metadata.items()}


def as_values(text: Mapping[str, str]) -> Metadata:
    """What ``as_text`` was given, tuples as lists.

    Raises:
        ValueError: when a value is not JSON.
    """
    return {name: json.loads(value) for name, value in text.items()}


def accuracy_of(trained: TrainedNetwork, checkpoint: Path, report: Path) -> dict[str, Any]:
    """Figures of a checkpoint's very weights: of the test images where there are any.

    ``report`` is the run's test.json, which names by its hash the checkpoint that was tested; where
    it is another, or there is none, validation figures are taken from the checkpoint.
    """
    try:
        tested = json.loads(report.read_bytes())
        same = tested["checkpoint_sha256"] == file_sha256(checkpoint)
    except (OSError, ValueError, KeyError, TypeError):
        same = False  # not tested, or by version 0.1, which does not tell what
    if same:
        numbers = {name: value for name, value in tested.items() if type(value) in (int, float)}
        told = {name: value for name, value in numbers.items() if math.isfinite(value)}
        return {"split": "test", **_with_alarm(told)}
    return {"split": "val", **_with_alarm(trained.figures)} if trained.figures else {}


def _with_alarm(figures: Mapping[str, float]) -> dict[str, Any]:
    """Figures, and the alarm when they are no better than chance; empty where they are."""
    chance = Chance.of_figures(figures)
    return {**figures, **({"alarm": chance.alarm} if chance else {})}
