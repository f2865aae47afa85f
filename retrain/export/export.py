"""``python -m retrain.export --run runs/NAME --formats onnx pt2``: ships a trained network.

Every file says how images become its input and what its outputs are called, and is checked against
PyTorch: on the run's validation images, or on generated ones where the data are not there. The
data's arguments may be given anew, as in --data.root DIR. export.json says what came out.
"""

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from torch import Tensor

from retrain.cli import checkpoint_path
from retrain.export.comparison import compare_detections, compare_metadata, compare_outputs
from retrain.export.detector import OPERATORS, DetectorGraph, detector_of
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import accuracy_of, describe, exporter_versions
from retrain.export.formats.opset import EXPORTED, OPSETS
from retrain.export.formats.shipment import Format, Shipment, write_whole
from retrain.export.images import CheckImages, Source, check_images
from retrain.export.int8_files import export_int8, prepared
from retrain.export.quantization import Quantization
from supernet.arch_file import ArchFile, read_arch
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.command.trust import add_trust
from supernet.errors import UserError
from supernet.files.writing import write_json
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.network.checkpoint import TrainedNetwork, file_sha256, load_network, read_trained
from supernet.run.locking import locked
from supernet.space.spec import NetSpec

CLASSIFIER_FORMATS = ("onnx", "pt2")
"""Formats that a classifier is shipped as by default: those that need no further package."""
DETECTOR_FORMATS = ("onnx",)
"""Formats that hold a detector, whose suppression of boxes is no operator of the others."""


@dataclass(frozen=True)
class Exported:
    """A network that is to be shipped, and how its files are compared with it."""

    trained: TrainedNetwork
    shipment: Shipment
    compare: Callable[[Format, Path, Tensor], dict[str, Any]]
    """What a file computes beside what PyTorch computes, of images (N, 3, R, R)."""


def export(
    run: Path,
    formats: Sequence[str] | None = None,
    checkpoint: str = "best",
    opset: int = EXPORTED,
    images: Source | None = None,
    data: Mapping[str, Any] | None = None,
    trusted: Sequence[str] = (),
    quantization: Quantization | None = None,
) -> list[str]:
    """Write, check and time the files of a run's network.

    Args:
        run: folder of a retraining.
        formats: out of ``FORMATS``; by default all that need no further package.
        checkpoint: best, last or a file.
        opset: of the ONNX file, out of ``OPSETS``.
        images: on which files are checked; None takes validation images where the data are there.
        data: arguments of the datamodule in place of the run's own.
        trusted: modules, besides ours, that the run's settings may name classes of.
        quantization: how formats are written in int8 too; None leaves them floats.

    Returns:
        One line for each file that failed its check; it is kept all the same.

    Raises:
        UserError: for an unknown format or opset, when run, checkpoint or a package is missing, or
            when the data have other classes than the network.
    """
    if opset not in OPSETS:
        raise UserError(f"opset is {opset}, allowed are {OPSETS[0]} to {OPSETS[-1]}")
    for name in formats or ():
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}, known are {', '.join(FORMATS)}")
    path = checkpoint_path(run, checkpoint)
    trained = read_trained(path)
    formats = _checked_formats(formats, trained)
    checked = check_images(run, trained, images, data or {}, trusted)
    if checked.data.preprocessing is None:
        say(
            "note: the data do not tell how an image becomes an input, so that the files do not"
            " either: give the datamodule a description, as docs/data.md says"
        )
    exported = _exported(trained, checked, path, run, opset)
    int8 = prepared(quantization, formats, trained, checked) if quantization else None
    found = None if trained.ssdlite else _timed_search(run, trained.spec)
    entries = dict[str, dict[str, Any]]()
    for name in formats:
        entries[name] = _export_one(exported, checked, run, name, found)
        if int8 and FORMATS[name].quantize and not entries[name]["failure"]:
            small = export_int8(exported.shipment, int8, checked.images, run, name)
            entries[f"{name}-int8"] = small
    report: dict[str, Any] = {"checkpoint": str(path), "checkpoint_sha256": file_sha256(path)}
    report["checked_on"] = checked.source
    if found:
        error = dataclasses.asdict(found.table_error) if found.table_error else None
        predicted = {"ms": found.predicted, "device": found.device, "table": found.table}
        report["predicted"] = {**predicted, "table_error": error}
    report |= {
        "spec": dataclasses.asdict(trained.spec),
        "metadata": exported.shipment.metadata,
        "formats": entries,
        "versions": exporter_versions(),
    }
    write_json(run / "export.json", report, indent=2)
    return [
        f"{name}: {entry['failure']}; the file is kept for inspection, do not ship it"
        for name, entry in entries.items()
        if entry["failure"]
    ]


def _exported(
    trained: TrainedNetwork, checked: CheckImages, checkpoint: Path, run: Path, opset: int
) -> Exported:
    """The network of a checkpoint, with all that is known of it."""
    accuracy = accuracy_of(trained, checkpoint, run / "test.json")
    if trained.ssdlite is None:
        network = load_network(checkpoint)
        metadata = describe(trained, checked.data, "classification", accuracy)
        shipment = Shipment(network, metadata, opset)
        return Exported(trained, shipment, lambda *file: compare_outputs(network, *file))
    detector = detector_of(trained, checkpoint)
    graph = DetectorGraph(detector, trained.spec.resolution).eval()
    metadata = describe(trained, checked.data, "detection", accuracy)
    shipment = Shipment(graph, metadata, opset, OPERATORS)
    return Exported(trained, shipment, lambda *file: compare_detections(detector, *file))


def _timed_search(run: Path, spec: NetSpec) -> ArchFile | None:
    """The file of a search that predicted the time of this very network on a device."""
    try:
        found = read_arch(yaml.safe_load((run / "config.yaml").read_text())["model"]["arch"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, UserError):
        return None  # a published network, or its file is gone: nobody predicted anything
    if found.unit != "ms" or found.spec != spec:
        return None
    error = f"; {found.table_error.words}" if found.table_error else ""
    say(f"predicted {found.predicted:.4g} ms on {found.device}{error}")
    return found


def _export_one(
    exported: Exported, checked: CheckImages, run: Path, name: str, found: ArchFile | None
) -> dict[str, Any]:
    """Write one file and say what it is."""
    kind, shipment = FORMATS[name], exported.shipment
    target = run / f"network.{kind.suffix}"
    say(f"{name}: writing {target}")
    write_whole(lambda path: kind.write(shipment, path), target)
    entry = identity_of(target)
    entry |= {"opset": shipment.opset} if name == "onnx" else {}
    entry |= _verify(exported, kind, target, checked)
    entry["failure"] = entry["failure"] or compare_metadata(
        kind, target, shipment.metadata, shipment.opset
    )
    if entry["failure"]:
        return entry
    say(f"{name}: {entry['bytes'] / 1e6:.1f} MB, {_agreement(entry)}")
    if kind.latency and "unverified" not in entry:
        entry["latency_ms"] = kind.latency(target, shipment.side)
        ms = f"{entry['latency_ms']:.3g} ms for one image on one thread of this machine"
        say(f"{name}: {ms}{_beside(found, entry['latency_ms'])}")
    return entry


def identity_of(target: Path) -> dict[str, Any]:
    """What a file is called, holds and hashes to; of a folder each file, by its path there."""
    files = [path for path in sorted(target.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files or [target])
    hashes = {str(path.relative_to(target)): file_sha256(path) for path in files}
    return {"file": target.name, "bytes": size, "sha256": hashes or file_sha256(target)}


def _verify(exported: Exported, kind: Format, target: Path, checked: CheckImages) -> dict[str, Any]:
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


def _beside(found: ArchFile | None, ms: float) -> str:
    """A measurement on this machine beside a prediction of this machine, in words."""
    if not found or not found.table_error:
        return ""
    if found.device != device_name(OnnxRuntime().description()):
        return ""
    return f", {found.table_error.compare(found.predicted, ms)}"


def _checked_formats(names: Sequence[str] | None, trained: TrainedNetwork) -> Sequence[str]:
    """The formats that were asked for, or those that there are for the network."""
    names = names or (CLASSIFIER_FORMATS if trained.ssdlite is None else DETECTOR_FORMATS)
    for name in names:
        if trained.ssdlite is not None and name not in DETECTOR_FORMATS:
            raise UserError(
                f"a detector is not exported as {name}, which has no operator that suppresses"
                " boxes: give --formats onnx"
            )
        if importlib.util.find_spec(FORMATS[name].package) is None:
            raise UserError(f"format {name} needs `pip install mnasnet-search[{name}]`")
    return names


def data_arguments(words: Sequence[str]) -> dict[str, str]:
    """Arguments of the datamodule as text, out of ``--data.NAME VALUE`` or ``--data.NAME=VALUE``.

    Raises:
        UserError: for any other word.
    """
    found, rest = dict[str, str](), list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        name = option.removeprefix("--data.").removeprefix("init_args.")
        if not option.startswith("--data.") or not name.isidentifier():
            raise UserError(f"unrecognized arguments: {option} (see python -m retrain.export -h)")
        if not equals:
            if not rest:
                raise UserError(f"{option} needs a value")
            value = rest.pop(0)
        found[name] = value
    return found


def main(args: Sequence[str] | None = None) -> None:
    """Export a run's network; exit with status 1 when a file fails its check."""
    parser = Parser(prog="python -m retrain.export", description=__doc__, allow_abbrev=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    parser.add_argument(
        "--formats", nargs="+", help=f"out of {', '.join(FORMATS)}; onnx and pt2 by default"
    )
    parser.add_argument("--checkpoint", default="best", help="best, last or a file")
    parser.add_argument(
        "--opset", type=int, default=EXPORTED, help="of the ONNX file, 11 to 20; 18 by default"
    )
    parser.add_argument(
        "--images",
        choices=get_args(Source),
        help="what files are checked on; validation images where the data are there by default",
    )
    parser.add_argument("--data.NAME", dest="_", help="an argument of the data, such as root")
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="write formats that have it in int8 too, beside their files of floats",
    )
    parser.add_argument(
        "--calibration-images",
        type=int,
        default=Quantization.calibration_images,
        help=f"training images that int8 is calibrated on; {Quantization.calibration_images} by"
        " default",
    )
    parser.add_argument(
        "--max-accuracy-loss",
        type=float,
        default=Quantization.max_accuracy_loss,
        help="points (hundredths) of test accuracy that int8 may lose, 1 by default",
    )
    add_trust(parser)
    options, others = parser.parse_known_args(args)
    quantization = Quantization(options.calibration_images, options.max_accuracy_loss)
    with locked(options.run):
        failures = export(
            options.run,
            options.formats,
            options.checkpoint,
            options.opset,
            options.images,
            data_arguments(others),
            options.trust,
            quantization if options.quantize else None,
        )
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)  # noqa: T201
    if failures:
        raise SystemExit(1)
