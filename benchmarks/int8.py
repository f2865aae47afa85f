"""What int8 costs and gains: a retrained network's files in int8 beside those of floats.

``python -m benchmarks.int8 --run runs/NAME`` exports the run's best checkpoint three times in
int8: to ONNX and to ExecuTorch after training, and to ExecuTorch with a training that knows of it
(``--quantize qat``). It prints, and keeps, the test accuracy that was lost, how far logits are off,
sizes, times of one image on one thread here, and the share of operators that XNNPACK computes. The
run's own files stay as they are.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import machine, record
from retrain.cli import checkpoint_path
from retrain.export.export import export
from retrain.export.quantization import Quantization
from supernet.command.output import new_table, print_table
from supernet.command.process import run_command
from supernet.files.reading import read_yaml
from supernet.network.checkpoint import file_sha256

COPIED = ("config.yaml", "checkpoints/best.ckpt")
"""What an export reads of a run."""


def exported(run: Path, qat: bool) -> Iterator[dict[str, Any]]:
    """Rows of what a run's network is in int8."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in COPIED:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(run / name, folder / name)
        yield from rows(export(folder, ["onnx", "executorch"], quantization=Quantization()).entries)
        if qat:
            trained = Quantization(method="qat")
            yield from rows(export(folder, ["executorch"], quantization=trained).entries)


def rows(entries: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each file in int8, with what it says beside its file of floats."""
    for form, small in entries.items():
        name, _, method = form.partition("-")
        if not method:
            continue
        floats, judged = entries[name], small["accuracy"]
        yield {
            "format": name,
            "method": method,
            "accuracy": judged["accuracy"],
            "fp32_accuracy": judged["fp32_accuracy"],
            "points_lost": judged["points_lost"],
            "test_images": judged["images"],
            "relative_difference": small.get("relative_difference"),
            "agreement": small.get("agreement"),
            **{
                f"{told}{field}": entry.get(field)
                for told, entry in (("fp32_", floats), ("", small))
                for field in ("bytes", "latency_ms", "delegated_share")
            },
            "failure": small["failure"],
        }


def cells(row: dict[str, Any]) -> list[str]:
    """A line of the table."""
    share = "-" if row["delegated_share"] is None else f"{row['delegated_share']:.1%}"
    return [
        row["format"],
        row["method"],
        f"{row['fp32_accuracy']:.4f}",
        f"{row['points_lost']:.2f}",
        shown(row["relative_difference"], ".1%"),
        shown(row["agreement"], ".1%"),
        f"{row['fp32_bytes'] / 1e6:.2f} / {row['bytes'] / 1e6:.2f}",
        f"{shown(row['fp32_latency_ms'], '.3g')} / {shown(row['latency_ms'], '.3g')}",
        share,
        "refused" if row["failure"] else "",
    ]


def shown(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def main() -> None:
    """Export, print the table and keep its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a retraining")
    parser.add_argument("--no_qat", action="store_true", help="without the training in int8")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = checkpoint_path(options.run, "best")
    data = read_yaml(options.run / "config.yaml", "name the folder of a retraining")["data"]
    config = {"data": data, "checkpoint": file_sha256(checkpoint)[:12]}
    found = []
    for row in exported(options.run, not options.no_qat):
        found.append(row)
        record("int8", config, 0, row)
    print(f"# {machine()}")
    table = new_table(
        *("format", "method", "fp32 accuracy", "points lost", "logits off", "same class"),
        *("MB fp32 / int8", "ms fp32 / int8", "in XNNPACK", ""),
        left=["format", "method", ""],
    )
    for row in found:
        table.add_row(*cells(row))
    print_table(table)
    for row in found:
        if row["failure"]:
            print(f"{row['format']} {row['method']} is refused: {row['failure']}")


if __name__ == "__main__":
    run_command(main)
