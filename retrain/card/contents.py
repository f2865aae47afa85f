"""Contents: what a run holds of a network that is to be published, checked to belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.cli import checkpoint_path
from retrain.export.formats.metadata import Metadata, accuracy_of
from retrain.export.written_files import identity_of
from supernet.arch_file import ArchFile, is_file_name, read_arch
from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.reading import read_yaml, short, typed, typed_object
from supernet.network.checkpoint import TrainedNetwork, file_sha256, read_trained

FIGURES = ("network.png", "pareto.png", "surrogate.png", "progress.png")
"""Figures of a search that say something to a stranger."""


@dataclass(frozen=True)
class ExportedFile:
    """A file of export.json that is there, as it was exported, and has passed its check."""

    kind: str
    """Name of its format."""
    path: Path
    """A file, or a folder of some formats."""
    num_bytes: int
    ms: float | None
    """Time of one image on one thread of the machine that exported it; None where not timed."""
    remark: str
    """That it could not be verified, or an int8 file's own accuracy."""


@dataclass(frozen=True)
class Contents:
    """A trained classifier with all that is published of it."""

    name: str
    checkpoint: Path
    trained: TrainedNetwork
    metadata: Metadata
    """What its files say of it (docs/export.md), with the accuracy that is known today."""
    data: str
    """Name of the data set."""
    files: tuple[ExportedFile, ...]
    arch: Path | None
    """arch.json of its search; None for a published network."""
    found: ArchFile | None
    """What that file holds."""
    figures: tuple[Path, ...]


def read_contents(run: Path, checkpoint: str = "best", name: str = "", data: str = "") -> Contents:
    """What a run holds, once it is trained and exported.

    Args:
        run: folder of a retraining.
        checkpoint: best, last or a file.
        name: of the network; the run's by default.
        data: name of the data set; that of its datamodule by default.

    Raises:
        UserError: when a part is missing, broken, failed its check or is of other weights.
    """
    path = checkpoint_path(run, checkpoint)
    trained = read_trained(path)
    if trained.ssdlite is not None:
        raise UserError(f"{run} holds a detector: cards are made of classifiers")
    again = f"run `mnasnet export --run {run}` first"
    report = _report(run / "export.json", again)
    if report.get("checkpoint_sha256") != file_sha256(path):
        raise UserError(f"{run / 'export.json'} is not of {path}: {again}")
    metadata = typed_object("export.json: metadata", report.get("metadata"))
    if not {"classes", "preprocessing"} <= metadata.keys():
        raise UserError(f"{run / 'export.json'} lacks classes or preprocessing: {again}")
    # A test may have come after the export.
    metadata = {**metadata, "accuracy": accuracy_of(trained, path, run / "test.json")}
    config = typed_object("config.yaml", read_yaml(run / "config.yaml", "name a retraining's run"))
    arch = _arch_of(config, trained)
    figures = [arch.parent / "figures" / one for one in FIGURES] if arch else []
    return Contents(
        name or run.resolve().name,
        path,
        trained,
        metadata,
        data or _data_of(config),
        _files(run, report, again),
        arch,
        read_arch(arch) if arch else None,
        tuple(one for one in figures if one.is_file()),
    )


def _report(path: Path, again: str) -> dict[str, Any]:
    try:
        return typed_object("the content", parse_json(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {again}") from None
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is broken ({reason}): {again}") from None


def _files(run: Path, report: Mapping[str, Any], again: str) -> tuple[ExportedFile, ...]:
    files = []
    for kind, entry in typed_object("export.json: formats", report.get("formats")).items():
        entry = typed_object(f"export.json: formats.{short(kind)[1:-1]}", entry)
        name = typed(f"export.json: {short(kind)}.file", entry.get("file"), str)
        path = run / name
        if entry.get("failure") or Path(name).name != name:
            raise UserError(f"{path} has failed its check, which export.json tells: {again}")
        found = identity_of(path) if path.exists() else {}
        if not found or found["sha256"] != entry.get("sha256"):
            raise UserError(f"{path} is not as it was exported: {again}")
        ms = entry.get("latency_ms")
        ms = ms if isinstance(ms, float) else None
        files.append(ExportedFile(kind, path, found["bytes"], ms, _remark(entry)))
    return tuple(files)


def _remark(entry: Mapping[str, Any]) -> str:
    judged = entry.get("accuracy")
    if not isinstance(judged, dict):
        return str(entry.get("unverified", ""))
    return (
        f"accuracy {judged['accuracy']:.2%} of test images, in floats {judged['fp32_accuracy']:.2%}"
    )


def _arch_of(config: Mapping[str, Any], trained: TrainedNetwork) -> Path | None:
    """The file of the search that found this very network, where it still lies."""
    model = config.get("model")
    arch = model.get("arch") if isinstance(model, dict) else None
    if not isinstance(arch, str) or not is_file_name(arch) or not Path(arch).is_file():
        return None
    return Path(arch) if read_arch(arch).spec == trained.spec else None


def _data_of(config: Mapping[str, Any]) -> str:
    data = config.get("data")
    path = data.get("class_path") if isinstance(data, dict) else None
    return path.rpartition(".")[2] if isinstance(path, str) else "images"
