"""LatencyTable: the times of a device's layers, and networks predicted from them. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from supernet.archfile import write_atomic
from supernet.errors import UserError
from supernet.parts import Body, Part, ends
from supernet.spec import NetSpec
from supernet.stage import Layer

FORMAT = "mnasnet-latency-table"
VERSION = 1


@dataclass(frozen=True)
class Calibration:
    """Turns the times of a part alone into its share of a network's time.

    A part that runs alone converts the layout of its input and output and pays a call, which a
    network pays once; and its weights lie in a cache where a network's may not. So its share is
    ``first * t_first + later * t_later + part``, fitted to whole networks.
    """

    first: float
    """Weight of the run that finds the caches cold."""
    later: float
    """Weight of the runs that find them warm."""
    part: float
    """Added for each part, in ms; mostly negative."""

    def share(self, first: float, later: float) -> float:
        """Share in ms of a part that takes these times alone, in ms."""
        return max(0.0, self.first * first + self.later * later + self.part)


@dataclass(frozen=True)
class HeldOut:
    """How well the table predicts networks of the space that did not calibrate it."""

    networks: int
    mape: float
    """Mean absolute relative error."""
    within_10: float
    """Share of the networks whose error is at most 10 %."""
    kendall_tau: float
    bias: float
    """Mean relative error."""
    noise: float
    """Mean absolute relative difference of two measurements of the same network, minutes or
    seconds apart: no error below it means anything."""


def device_name(found: Mapping[str, Any]) -> str:
    """In words what ``supernet.latency.device.describe`` says of a machine."""
    return f"{found['cpu']}, onnxruntime {found['onnxruntime']}, {found['threads']} thread"


@dataclass(frozen=True)
class LatencyTable:
    """Predicts the latency of a network as the sum of its parts' times.

    Additivity is checked on whole networks each time a table is built (``held_out``).
    """

    fingerprint: Mapping[str, Any]
    """What was measured on what: device, runtime, space settings, effort."""
    entries: Mapping[str, tuple[float, float]]
    """For each part that runs alone, ms of a first and of a later run."""
    calibration: Calibration
    held_out: HeldOut

    unit = "ms"

    @property
    def device(self) -> str:
        """What the table holds for, in words."""
        return device_name(self.fingerprint)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(canonical_json(self._fields()).encode()).hexdigest()

    @cached_property
    def _shares(self) -> dict[str, float]:
        return {key: self.calibration.share(*times) for key, times in self.entries.items()}

    def part_ms(self, part: Part) -> float:
        """A part's share of a network's latency, in ms.

        Raises:
            UserError: when the part was not measured.
        """
        try:
            return self._shares[part.key]
        except KeyError:
            raise UserError(
                f"the latency table holds no {part.key}: the network lies outside the space it was"
                " built for; build one with this network among its references"
            ) from None

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Share of one layer of a stage, in ms."""
        return self.part_ms(Body(layer, activation))

    def ends_cost(self, spec: NetSpec) -> float:
        """Share of stem and head, in ms."""
        return sum(self.part_ms(part) for part in ends(spec))

    def predict(self, spec: NetSpec) -> float:
        """Latency of one image on one thread, in ms.

        Raises:
            UserError: naming the layer that was not measured.
        """
        layers = (self.layer_cost(layer, spec.activation) for layer in spec.layers())
        return self.ends_cost(spec) + sum(layers)

    def _fields(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "unit": self.unit,
            "fingerprint": dict(self.fingerprint),
            "calibration": dataclasses.asdict(self.calibration),
            "held_out": dataclasses.asdict(self.held_out),
            "entries": {key: list(times) for key, times in sorted(self.entries.items())},
        }

    def save(self, path: str | Path) -> None:
        """Write the table as JSON, as a whole or not at all.

        Raises:
            UserError: when the file cannot be written.
        """
        write_atomic(path, (json.dumps(self._fields(), indent=1, allow_nan=False) + "\n").encode())

    @staticmethod
    def load(path: str | Path) -> LatencyTable:
        """Read what ``save`` wrote.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        try:
            return _read_table(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise UserError(f"cannot read the latency table {path}: {error.strerror}") from None
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            reason = str(error) if isinstance(error, UserError) else "its content is broken"
            raise UserError(
                f"{path} is no latency table of this version: {reason};"
                " name a latency-*.json, or delete a broken one, and the next search measures anew"
            ) from None


def canonical_json(value: object) -> str:
    """One spelling of a value: sorted keys, no spaces, exact floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read_table(fields: dict[str, Any]) -> LatencyTable:
    for name, expected in (("format", FORMAT), ("version", VERSION), ("unit", LatencyTable.unit)):
        if fields.get(name) != expected:
            raise UserError(f"{name} is {fields.get(name)!r}, expected {expected!r}")
    fingerprint = dict(fields["fingerprint"])
    for name in ("cpu", "onnxruntime", "threads"):
        if name not in fingerprint:
            raise UserError(f"fingerprint lacks {name}")
    return LatencyTable(
        fingerprint=fingerprint,
        entries={key: _times(key, value) for key, value in fields["entries"].items()},
        calibration=Calibration(**_numbers("calibration", fields["calibration"])),
        held_out=HeldOut(**_numbers("held_out", fields["held_out"])),
    )


def _numbers(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    for key, value in fields.items():
        if isinstance(value, bool) or not math.isfinite(value):
            raise UserError(f"{name}.{key} is {value!r}, it must be a finite number")
    return fields


def _times(key: str, values: list[float]) -> tuple[float, float]:
    first, later = values
    if not (0 < first < math.inf and 0 < later < math.inf):
        raise UserError(f"the times of {key} are {values}, they must be two positive numbers")
    return first, later
