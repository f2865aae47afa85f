"""``python -m retrain.export --run runs/NAME --formats onnx pt2``: ships a trained network.

Every file is checked against PyTorch on validation images, and export.json says what came out.
"""

import dataclasses
import hashlib
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from retrain.cli import checkpoint_path
from retrain.export.formats import FORMATS, Format
from supernet.arch_file import ArchFile, read_arch
from supernet.command.arguments import Parser
from supernet.command.output import say
from supernet.errors import UserError, one_line
from supernet.files.writing import write_json
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.network.network import Network, load_network
from supernet.space.spec import NetSpec
from supernet.training.config import make_data

NUM_IMAGES = 256
"""Validation images that every file must agree on."""
NUM_ALONE = 16
"""Images among them that are also run one by one."""
BATCH_SIZE = 64
"""Images that are otherwise run at once."""
LOGIT_TOLERANCE = 1e-4
"""Largest difference of a logit, over the largest logit: float32 in another order of additions."""
MIN_AGREEMENT = 0.99
"""Share of images with the same best class; an image between two classes may fall on either side
within the tolerance."""


def export(run: Path, formats: Sequence[str], checkpoint: str = "best") -> list[str]:
    """Write, check and time the files of a run's network, whose names are out of ``FORMATS``.

    Returns:
        One line for each file that failed its check; it is kept all the same.

    Raises:
        UserError: for an unknown format, or when run, checkpoint or a package is missing.
    """
    _check_formats(formats)
    path = checkpoint_path(run, checkpoint)
    network = load_network(path)
    images = validation_images(run, network.spec)
    found = _timed_search(run, network.spec)
    entries = {name: _export_one(network, images, run, name, found) for name in formats}
    report: dict[str, Any] = {"checkpoint": str(path)}
    if found:
        error = dataclasses.asdict(found.table_error) if found.table_error else None
        predicted = {"ms": found.predicted, "device": found.device, "table": found.table}
        report["predicted"] = {**predicted, "table_error": error}
    report |= {
        "spec": dataclasses.asdict(network.spec),
        "formats": entries,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
    }
    write_json(run / "export.json", report, indent=2)
    return [
        f"{name}: {entry['failure']}; the file is kept for inspection, do not ship it"
        for name, entry in entries.items()
        if entry["failure"]
    ]


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
    network: Network, images: Tensor, run: Path, name: str, found: ArchFile | None
) -> dict[str, Any]:
    """Write one file and say what it is."""
    kind = FORMATS[name]
    target = run / f"network.{kind.suffix}"
    say(f"{name}: writing {target}")
    # Exporters know no atomic writing, and some write several files.
    try:
        with tempfile.TemporaryDirectory(dir=run, prefix=".export-") as folder:
            temporary = Path(folder) / target.name
            kind.write(network, temporary)
            temporary.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}; an earlier file is as it was: make room or"
            " mend the folder, then run the same command again"
        ) from None
    say(f"{name}: checking it on {len(images)} validation images")
    entry = {
        "file": target.name,
        "bytes": target.stat().st_size,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        **compare_outputs(network, kind, target, images),
    }
    if entry["failure"]:
        return entry
    say(
        f"{name}: {entry['bytes'] / 1e6:.1f} MB, logits within {entry['max_difference']:.1g} of"
        f" PyTorch's, {entry['agreement']:.1%} of images keep their class"
    )
    if kind.latency:
        entry["latency_ms"] = kind.latency(target, network.spec.resolution)
        ms = f"{entry['latency_ms']:.3g} ms for one image on one thread of this machine"
        say(f"{name}: {ms}{_beside(found, entry['latency_ms'])}")
    return entry


def _beside(found: ArchFile | None, ms: float) -> str:
    """A measurement on this machine beside a prediction of this machine, in words."""
    if not found or not found.table_error:
        return ""
    if found.device != device_name(OnnxRuntime().description()):
        return ""
    return f", {found.table_error.compare(found.predicted, ms)}"


@torch.no_grad()
def compare_outputs(network: Network, kind: Format, path: Path, images: Tensor) -> dict[str, Any]:
    """Run images through PyTorch and through a file, one by one and in batches.

    Returns:
        ``images``, ``max_difference`` and ``tolerance`` (of logits), ``agreement`` (share of
        images with the same best class) and ``failure``: why the file must not ship, or empty.
    """
    try:
        run = kind.open_file(path)
    except ValueError as error:
        return {"failure": str(error)}
    expected = torch.cat([network(batch) for batch in images.split(BATCH_SIZE)])
    together = torch.cat([run(batch) for batch in images.split(BATCH_SIZE)])
    alone = torch.cat([run(image) for image in images[:NUM_ALONE].split(1)])
    outputs = {"PyTorch": expected, "the file": together, "the file, run one by one,": alone}
    broken = [name for name, logits in outputs.items() if not logits.isfinite().all()]
    if broken:  # an infinite logit would make the tolerance infinite
        return {"failure": f"{broken[0]} gives logits that are not finite"}
    differences = torch.cat([together - expected, alone - expected[: len(alone)]])
    difference = differences.abs().max().item()
    agreement = (together.argmax(1) == expected.argmax(1)).float().mean().item()
    tolerance = LOGIT_TOLERANCE * max(1.0, expected.abs().max().item())
    passed = difference <= tolerance and agreement >= MIN_AGREEMENT
    failure = (
        f"logits differ by {difference:.2g} (allowed {tolerance:.2g}), {agreement:.1%} of images"
        " keep their class"
    )
    return {
        "images": len(images),
        "max_difference": difference,
        "tolerance": tolerance,
        "agreement": agreement,
        "failure": "" if passed else failure,
    }


def validation_images(run: Path, spec: NetSpec) -> Tensor:
    """Up to ``NUM_IMAGES`` images (N, 3, R, R), spread over the run's validation split.

    Raises:
        UserError: when the run's data cannot be found or do not fit the network.
    """
    data = _datamodule(run / "config.yaml")
    data.prepare_data()
    data.setup("validate")
    loader = data.val_dataloader()
    total = len(loader.dataset)
    number = min(NUM_IMAGES, total)
    chosen = Subset(loader.dataset, [index * total // number for index in range(number)])
    batches = DataLoader(chosen, batch_size=32, collate_fn=loader.collate_fn)
    # Hooks in which a user's datamodule may normalise; they take a batch and a dataloader's index.
    prepared = (data.on_before_batch_transfer(batch, 0) for batch in batches)
    images = torch.cat([data.on_after_batch_transfer(batch, 0)[0] for batch in prepared])
    side = spec.resolution
    if images.shape[1:] != (3, side, side):
        raise UserError(
            f"the data of {run / 'config.yaml'} have images {tuple(images.shape[1:])}, but the"
            f" network takes {(3, side, side)}: give the run's own data"
        )
    return images


def _datamodule(path: Path) -> pl.LightningDataModule:
    """The data of a run, from its saved configuration."""
    try:
        settings = yaml.safe_load(path.read_text())["data"]
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): name a run's folder") from None
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        reason = one_line(error)[:200]
        raise UserError(f"{path} does not describe data: {reason}") from None
    return make_data(settings, str(path))


def _check_formats(names: Sequence[str]) -> None:
    for name in names:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}, known are {', '.join(FORMATS)}")
        if importlib.util.find_spec(FORMATS[name].package) is None:
            raise UserError(f"format {name} needs `pip install mnasnet-search[{name}]`")


def main(args: Sequence[str] | None = None) -> None:
    """Export a run's network; exit with status 1 when a file fails its check."""
    parser = Parser(prog="python -m retrain.export", description=__doc__, allow_abbrev=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    parser.add_argument(
        "--formats", nargs="+", default=["onnx", "pt2"], help=f"out of {', '.join(FORMATS)}"
    )
    parser.add_argument("--checkpoint", default="best", help="best, last or a file")
    options = parser.parse_args(args)
    failures = export(options.run, options.formats, options.checkpoint)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)  # noqa: T201
    if failures:
        raise SystemExit(1)
