"""Files of a network: each written, compared with PyTorch and timed, whatever becomes of others."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrain.detect.ssdlite import Detector
from retrain.export.comparison import compare_detections, compare_metadata, compare_outputs
from retrain.export.detector import OPERATORS, DefaultBoxes, DetectorGraph, Suppression, detector_of
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import DEFAULT_BOXES, Metadata, accuracy_of, describe
from retrain.export.formats.shipment import Format, Runner, Shipment, in_one_line, write_whole
from retrain.export.images import CheckImages
from retrain.export.int8_files import Int8Inputs, delegation, export_int8
from retrain.export.prediction import Prediction, beside
from supernet.command.output import say
from supernet.errors import UserError
from supernet.network.checkpoint import TrainedNetwork, file_sha256, load_network


@dataclass(frozen=True)
class Exported:
    """A network that is to be shipped, and how its files are compared with it."""

    shipment: Shipment
    compare: Callable[[Format, Path, Tensor], dict[str, Any]]
    """What a file computes beside what PyTorch computes, of images (N, 3, R, R)."""
    unsuppressed: "Exported | None" = None
    """What formats hold of a detector that cannot suppress boxes."""

    def held_by(self, kind: Format) -> "Exported":
        """What a format holds of the network."""
        return self if kind.suppresses or self.unsuppressed is None else self.unsuppressed


@dataclass(frozen=True)
class Job:
    """What the files of an export are made with."""

    exported: Exported
    checked: CheckImages
    run: Path
    """Folder that the files are put in."""
    predicted: Prediction | None
    """By the search that found the network."""
    int8: Int8Inputs | None
    """What files of int8 are made with; None leaves them floats."""


@dataclass
class Written:
    """What came out of an export, format by format."""

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each file is and how it compares; ``failure`` is why it must not ship, or empty."""
    not_written: dict[str, str] = field(default_factory=dict)
    """Why a format could not be made of the network."""

    @property
    def failed(self) -> dict[str, str]:
        """Why files must not ship that were written all the same."""
        return {name: entry["failure"] for name, entry in self.entries.items() if entry["failure"]}


def write_files(job: Job, formats: Sequence[str]) -> Written:
    """Write, check and time the file of each format, and its int8 form."""
    written = Written()
    for name in formats:
        try:
            with in_one_line("its converter fails", f"; leave {name} out of --formats"):
                for key, entry in _entries_of(job, name):
                    written.entries[key] = entry
        except UserError as error:
            written.not_written[name] = str(error)
    return written


def exported_network(
    trained: TrainedNetwork, checked: CheckImages, checkpoint: Path, run: Path, opset: int
) -> Exported:
    """The network of a checkpoint, with all that is known of it."""
    accuracy = accuracy_of(trained, checkpoint, run / "test.json")
    if trained.ssdlite is None:
        network = load_network(checkpoint)
        metadata = describe(trained, checked.data, "classification", accuracy)
        shipment = Shipment(network, metadata, opset)
        return Exported(shipment, lambda *file: compare_outputs(network, *file))
    metadata = describe(trained, checked.data, "detection", accuracy)
    return exported_detector(
        detector_of(trained, checkpoint), trained.spec.resolution, metadata, opset
    )


def exported_detector(detector: Detector, side: int, metadata: Metadata, opset: int) -> Exported:
    """A detector, whole and without its suppression of boxes, which its files are compared with."""
    # torch.export warns that it finds no whole tensor in weights of another memory format.
    detector.to(memory_format=torch.contiguous_format)
    suppression = Suppression.of(detector)

    def compare(kind: Format, path: Path, images: Tensor) -> dict[str, Any]:
        def open_file(path: Path) -> Runner:
            run = kind.open_file(path)
            return lambda images: suppression(*run(images))

        return compare_detections(detector, replace(kind, open_file=open_file), path, images)

    told = {"outputs": DEFAULT_BOXES, "suppression": asdict(suppression)}
    boxes = Shipment(
        DefaultBoxes(detector, side).eval(), metadata | told, opset, full_precision=True
    )
    whole = Shipment(DetectorGraph(detector, side).eval(), metadata, opset, OPERATORS)
    return Exported(
        whole, lambda *file: compare_detections(detector, *file), Exported(boxes, compare)
    )


def _entries_of(job: Job, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is said of a format's file, and of its int8 form, each once it is written."""
    floats = _write_one(job, name)
    yield name, floats
    if job.int8 and job.int8.makes(name) and not floats["failure"]:
        shipment, images = job.exported.shipment, job.checked.images
        form = f"{name}-{job.int8.settings.method}"
        yield form, export_int8(shipment, job.int8, images, job.run, name, job.predicted)


def _write_one(job: Job, name: str) -> dict[str, Any]:
    """Write one file and say what it is."""
    kind = FORMATS[name]
    exported = job.exported.held_by(kind)
    shipment = exported.shipment
    target = job.run / f"network.{kind.suffix}"
    say(f"{name}: writing {target}")
    told = write_whole(lambda path: kind.write(shipment, path), target)
    entry = {**identity_of(target), **told}
    entry |= {"opset": shipment.opset} if name == "onnx" else {}
    if "suppression" in shipment.metadata:
        say(f"{name}: holds all boxes with their scores: what runs it is to suppress boxes")
        entry |= {key: shipment.metadata[key] for key in ("outputs", "suppression")}
    entry |= _verify(exported, job.checked, kind, target)
    entry["failure"] = entry["failure"] or compare_metadata(
        kind, target, shipment.metadata, shipment.opset
    )
    if entry["failure"]:
        return entry
    say(f"{name}: {entry['bytes'] / 1e6:.1f} MB, {_agreement(entry)}{delegation(entry)}")
    if kind.latency and "unverified" not in entry:
        entry["latency_ms"] = kind.latency(target, shipment.side)
        ms = f"{entry['latency_ms']:.3g} ms for one image on one thread of this machine"
        say(f"{name}: {ms}{beside(job.predicted, name, entry['latency_ms'], 'fp32')}")
    return entry


def identity_of(target: Path) -> dict[str, Any]:
    """What a file is called, holds and hashes to; of a folder each file, by its path there."""
    files = [path for path in sorted(target.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files or [target])
    hashes = {str(path.relative_to(target)): file_sha256(path) for path in files}
    return {"file": target.name, "bytes": size, "sha256": hashes or file_sha256(target)}


def _verify(exported: Exported, checked: CheckImages, kind: Format, target: Path) -> dict[str, Any]:
    """What the file computes beside what PyTorch does, where its runtime is."""
    if kind.platform not in ("", sys.platform):
        where = "a Mac" if kind.platform == "darwin" else kind.platform
        return {"unverified": f"converted, not verified: it runs on {where} alone", "failure": ""}
    say(f"{target.name}: checking it on {checked.words}")
    return exported.compare(kind, target, checked.images)


def _agreement(entry: Mapping[str, Any]) -> str:
    if "unverified" in entry:
        return entry["unverified"]
    difference, share = f"{entry['max_difference']:.1g}", f"{entry['agreement']:.1%}"
    if "detections" in entry:
        return f"{share} of detections are PyTorch's, boxes within {difference} px"
    return f"logits within {difference} of PyTorch's, {share} of images keep their class"
