"""Times of a search's best networks on this machine, kept in its run folder."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from search.module import SearchModule
from search.selection.selection import Candidate
from search.surrogate.tunings import Code
from supernet.arch_records import Measured
from supernet.files.writing import write_json
from supernet.latency.devices.backends import PRECISIONS, Backend
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.table.bench import NETWORKS
from supernet.latency.table.plan import random_networks
from supernet.latency.table.table import LatencyTable
from supernet.latency.this_machine import measure_specs


class DeviceTimes:
    """measured.json: networks timed on this machine, each once.

    Timing is not repeatable to the last digit, so what a run has measured on a machine stands: a
    final stage that is repeated writes the same files.

    Args:
        module: a search with its target's unit and its latency table, if it has one.
        path: of the file.
    """

    def __init__(self, module: SearchModule, path: Path) -> None:
        self.module, self.path = module, path
        self.precision = _precision(module)
        """That of the predictions, if this machine has it; else they are not comparable anyway."""
        self.device = device_name(OnnxRuntime(Backend(precision=self.precision)).description())
        self.times: dict[Code, float] = self._load()

    def _load(self) -> dict[Code, float]:
        # Whatever is wrong with the file, measuring again mends it.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self.path.read_bytes())
            if content["device"] == self.device:
                rows = content["networks"]
                return {tuple(row["arch"]): float(row["measured_ms"]) for row in rows}
        return {}

    def measure(self, candidates: Sequence[Candidate]) -> None:
        """Time the candidates that have not been timed, and write the file."""
        space = self.module.space
        new = [one.code for one in candidates if one.code not in self.times]
        specs = [space.spec(space.decode(code)) for code in new]
        if specs:
            among = random_networks(space, specs, NETWORKS.group_size - 1, seed=0)
            times = measure_specs(specs, among, precision=self.precision)
            self.times |= zip(new, times, strict=True)
        content = {
            "unit": self.module.objective.cost_model.unit,
            "device": self.device,
            "networks": [
                {"arch": one.code, "predicted": one.cost, "measured_ms": self.times[one.code]}
                for one in candidates
            ],
        }
        write_json(self.path, content)

    def of(self, candidate: Candidate) -> Measured | None:
        """The time for arch.json: None unless it was taken, and predicted for this machine."""
        ms = self.times.get(candidate.code)
        if ms is None or self.module.objective.cost_model.device != self.device:
            return None
        return Measured.beside(candidate.cost, ms)


def _precision(module: SearchModule) -> str:
    model = module.objective.cost_model
    told = model.fingerprint["precision"] if isinstance(model, LatencyTable) else "fp32"
    return told if told in PRECISIONS["onnxruntime"] else "fp32"
