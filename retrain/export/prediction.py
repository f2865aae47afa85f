"""Prediction: the time that a search expected of the network which is exported."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from supernet.arch_file import ArchFile, read_arch
from supernet.command.output import say
from supernet.errors import UserError
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import device_name, precision_of
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.space.spec import NetSpec


@dataclass(frozen=True)
class Prediction:
    """What a search predicted of this very network, from a latency table."""

    found: ArchFile

    @property
    def precision(self) -> str:
        """Of the networks that the table was measured on: fp32, int8, bf16 or fp16."""
        return precision_of(self.found.device)

    def told(self) -> Mapping[str, Any]:
        """For export.json."""
        error = self.found.table_error
        return {
            "ms": self.found.predicted,
            "device": self.found.device,
            "table": self.found.table,
            "table_error": asdict(error) if error else None,
        }

    def say(self, quantized: bool) -> None:
        """Tell it, and of a prediction in int8 that only an int8 file will come up to it."""
        error = f"; {self.found.table_error.words}" if self.found.table_error else ""
        say(f"predicted {self.found.predicted:.4g} ms on {self.found.device}{error}")
        if self.precision == "int8" and not quantized:
            say("note: that is the time in int8: give --quantize int8 for a file that takes it")


def prediction_of(run: Path, spec: NetSpec) -> Prediction | None:
    """What the search that a run names predicted of this very network, if it priced it in ms."""
    try:
        found = read_arch(yaml.safe_load((run / "config.yaml").read_text())["model"]["arch"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, UserError):
        return None  # a published network, or its file is gone: nobody predicted anything
    return Prediction(found) if found.unit == "ms" and found.spec == spec else None


def beside(predicted: Prediction | None, kind: str, ms: float, precision: str) -> str:
    """A file's time on this machine beside a prediction of just that, in words; else nothing.

    Args:
        predicted: of the network.
        kind: name of the file's format.
        ms: how long that took.
        precision: in which.
    """
    if predicted is None or kind != "onnx" or not predicted.found.table_error:
        return ""
    here = OnnxRuntime(Backend(precision=precision)).description()
    if predicted.found.device != device_name(here):
        return ""
    return f", {predicted.found.table_error.compare(predicted.found.predicted, ms)}"
