"""``mnasnet export --run runs/NAME --formats onnx pt2``: ships a trained network.

Every file says how images become its input and what its outputs are called, and is checked against
PyTorch: on the run's validation images, or on generated ones where the data are not there. The
data's arguments may be given anew, as in --data.root DIR. export.json says what came out.
"""

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from retrain.cli import checkpoint_path
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import exporter_versions
from retrain.export.formats.onnx_file import check_int8_opset
from retrain.export.formats.opset import OPSETS
from retrain.export.images import Source, check_images
from retrain.export.int8_files import prepared
from retrain.export.prediction import prediction_of
from retrain.export.quantization import Method, Quantization
from retrain.export.written_files import Job, Written, exported_network, write_files
from retrain.record import record_export
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.command.process import EXIT_USER_ERROR
from supernet.command.trust import add_trust
from supernet.errors import UserError, one_line
from supernet.files.locking import locked
from supernet.files.writing import write_json
from supernet.latency.models.trained_graph import EXPORTED
from supernet.network.checkpoint import TrainedNetwork, file_sha256, read_trained
from supernet.report.report import report_after

CLASSIFIER_FORMATS = ("onnx", "pt2")
"""Formats that a classifier is shipped as by default: those that need no further package."""
QAT_FORMATS = ("executorch", "pt2")
"""Formats that a classifier is shipped as by default after a training in int8."""
DETECTOR_FORMATS = ("onnx",)
"""Formats that a detector is shipped as by default, whole."""


def export(
    run: Path,
    formats: Sequence[str] | None = None,
    checkpoint: str = "best",
    opset: int = EXPORTED,
    images: Source | None = None,
    data: Mapping[str, Any] | None = None,
    trusted: Sequence[str] = (),
    quantization: Quantization | None = None,
) -> Written:
    """Write, check and time the files of a run's network; one that fails leaves the others be.

    Args:
        run: folder of a retraining.
        formats: out of ``FORMATS``; by default all that need no further package.
        checkpoint: best, last or a file.
        opset: of the ONNX file, out of ``OPSETS``.
        images: on which files are checked; None takes validation images where the data are there.
        data: arguments of the datamodule in place of the run's own.
        trusted: modules, besides ours, that the run's settings may name classes of.
        quantization: how formats are written in int8 too; None leaves them floats.

    Raises:
        UserError: for an unknown format or opset, when run, checkpoint or a package is missing, or
            when the data have other classes than the network.
    """
    _check_words(formats, opset, quantization)
    path = checkpoint_path(run, checkpoint)
    trained = read_trained(path)
    formats = _checked_formats(formats, trained, quantization)
    checked = check_images(run, trained, images, data or {}, trusted)
    if checked.data.preprocessing is None:
        say(
            "note: the data do not tell how an image becomes an input, so that the files do not"
            " either: give the datamodule a description, as docs/data.md says"
        )
    exported = exported_network(trained, checked, path, run, opset)
    int8 = None
    if quantization:
        int8 = prepared(quantization, formats, trained, checked, run, trusted)
    found = None if trained.ssdlite else prediction_of(run, trained.spec)
    if found:
        found.say(quantized=int8 is not None)
    written = write_files(Job(exported, checked, run, found, int8), formats)
    report: dict[str, Any] = {"checkpoint": str(path), "checkpoint_sha256": file_sha256(path)}
    report["checked_on"] = checked.source
    if found:
        report["predicted"] = found.told()
    report |= {
        "spec": dataclasses.asdict(trained.spec),
        "metadata": exported.shipment.metadata,
        "formats": written.entries,
        "not_written": written.not_written,
        "versions": exporter_versions(),
    }
    write_json(run / "export.json", report, indent=2)
    report_after(run, say)
    return written


def _check_words(
    formats: Sequence[str] | None, opset: int, quantization: Quantization | None
) -> None:
    """Refuse what can be refused before anything is read."""
    if opset not in OPSETS:
        raise UserError(f"opset is {opset}, allowed are {OPSETS[0]} to {OPSETS[-1]}")
    for name in formats or ():
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}, known are {', '.join(FORMATS)}")
    if quantization and quantization.method == "int8" and "onnx" in (formats or CLASSIFIER_FORMATS):
        check_int8_opset(opset)


def _checked_formats(
    names: Sequence[str] | None, trained: TrainedNetwork, quantization: Quantization | None
) -> Sequence[str]:
    """The formats that were asked for, or those that there are for the network."""
    trains = quantization is not None and quantization.method == "qat"
    usual = QAT_FORMATS if trains else CLASSIFIER_FORMATS
    names = names or (usual if trained.ssdlite is None else DETECTOR_FORMATS)
    for name in names:
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
            raise UserError(f"unrecognized arguments: {option} (see mnasnet export -h)")
        if not equals:
            if not rest:
                raise UserError(f"{option} needs a value")
            value = rest.pop(0)
        found[name] = value
    return found


def main(args: Sequence[str] | None = None) -> None:
    """Export a run's network.

    Raises:
        SystemExit: with status 2 when a format could not be made, else 1 when a file failed its
            check.
    """
    parser = Parser(prog="python -m retrain.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    parser.add_argument(
        "--formats", nargs="+", help=f"out of {', '.join(FORMATS)}; onnx and pt2 by default"
    )
    parser.add_argument("--checkpoint", default="best", help="weights: best, last or a file")
    parser.add_argument(
        "--opset",
        type=int,
        default=EXPORTED,
        help="opset of the ONNX file, 11 to 20; 18 by default",
    )
    parser.add_argument(
        "--images",
        choices=get_args(Source),
        help="what files are checked on; validation images where the data are there by default",
    )
    parser.add_argument("--data.NAME", dest="_", help="an argument of the data, such as root")
    parser.add_argument(
        "--quantize",
        choices=get_args(Method),
        help="write formats that have it in int8 too, beside their files of floats; qat: after a"
        " short training that knows of it",
    )
    parser.add_argument(
        "--calibration_images",
        type=int,
        default=Quantization.calibration_images,
        help=f"training images that int8 is calibrated on; {Quantization.calibration_images} by"
        " default",
    )
    parser.add_argument(
        "--max_accuracy_loss",
        type=float,
        help="points (hundredths) of test accuracy that int8 may lose, 1 by default, 0.5 after qat",
    )
    add_trust(parser)
    options, others = parser.parse_known_args(args)
    quantization = Quantization(
        options.calibration_images, options.max_accuracy_loss, options.quantize or "int8"
    )
    with locked(options.run):
        written = export(
            options.run,
            options.formats,
            options.checkpoint,
            options.opset,
            options.images,
            data_arguments(others),
            options.trust,
            quantization if options.quantize else None,
        )
        if written.entries:
            weights = checkpoint_path(options.run, options.checkpoint)
            record_export(options.run, weights, written.entries)
    for name, reason in written.failed.items():
        kept = "the file is kept for inspection, do not ship it"
        sys.stderr.write(one_line(f"failed: {name}: {reason}; {kept}") + "\n")
    for name, reason in written.not_written.items():
        sys.stderr.write(one_line(f"error: {name}: {reason}") + "\n")
    if written.failed or written.not_written:
        raise SystemExit(EXIT_USER_ERROR if written.not_written else 1)
