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
from statistics import fmean
from typing import Any

from supernet.arch_records import TableError
from supernet.cost.model import Combine, check_ms
from supernet.cost.timed_layers import StageLayer, TimedLayer, stem_and_head, timed_layers_of_space
from supernet.errors import UserError, check_choice
from supernet.files.json_text import CHECKSUM, check_checksum, checksum_of, parse_json
from supernet.files.reading import check_names, read_as, short, typed, typed_object
from supernet.files.writing import canonical_json, write_atomic
from supernet.latency.devices.device import device_name
from supernet.latency.table.correction import Correction, Times
from supernet.latency.table.table_checks import (
    check_errors,
    check_fingerprint,
    check_log_ms,
    read_entries,
)
from supernet.latency.table.validation import Validation
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer

TABLE_FORMAT = "mnasnet-latency-table"
TABLE_VERSION = 2
BUILD = "mnasnet latency build --space YAML --out FILE"
MADE_BY = ("date", "command")
"""Fields of a fingerprint that say when and how the same table was made."""
ROLES = ("calibration", "held out", "reference")
_FIELDS = ("fingerprint", "entries", "correction", "validation", "reference_ms", "networks")


@dataclass(frozen=True)
class MeasuredNetwork:
    """A whole network that the table was fitted to or judged by."""

    spec: NetSpec
    log_ms: tuple[float, ...]
    """Logarithms of ms, one for each quiet session."""
    role: str
    """Whether it belongs to the ``calibration``, was ``held out`` to judge the table, or is a
    ``reference`` of another space."""

    def __post_init__(self) -> None:
        self.spec.checked()
        if not self.log_ms:
            raise UserError("networks.log_ms is empty, it must hold a number for each session")
        check_log_ms("networks.log_ms", self.log_ms)
        check_choice("networks.role", self.role, ROLES)

    @property
    def ms(self) -> float:
        """Geometric mean of the sessions."""
        return math.exp(math.fsum(self.log_ms) / len(self.log_ms))


@dataclass(frozen=True)
class LatencyTable:
    """Predicts the latency of a network as the sum of the shares of its layers, stem and head.

    Additivity is checked on whole networks each time a table is built (``validation``).

    Examples:
        >>> from supernet.arch_file import load_spec
        >>> table = LatencyTable.read("phone.json")
        >>> round(table.predict(load_spec("arch.json")), 2), table.unit
        (5.89, 'ms')
    """

    fingerprint: Mapping[str, Any]
    """What was measured on what: device, runtime, space, effort, date and command."""
    entries: Mapping[str, Times]
    """Times of each layer alone, in ms of a first and of a later run, by its key."""
    correction: Correction
    validation: Validation
    reference_ms: float
    """What the reference network took among networks while the machine was quiet."""
    networks: tuple[MeasuredNetwork, ...] = ()

    unit = "ms"

    @property
    def device(self) -> str:
        """What the table holds for, in words."""
        return device_name(self.fingerprint)

    @cached_property
    def space(self) -> MnasSpace:
        """The space that it was built for; UserError where the file does not hold it."""
        fields = self.fingerprint.get("space")
        return read_as(MnasSpace, fields, "fingerprint.space.", partial=True)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the backend, as ``Backend.of_table`` takes them."""
        return dict(typed_object("fingerprint.settings", self.fingerprint.get("settings")))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that predictions follow from."""
        names = ("fingerprint", "correction", "entries", "networks")
        fields = {name: self._fields[name] for name in names}
        told = fields["fingerprint"].items()
        fields["fingerprint"] = {name: value for name, value in told if name not in MADE_BY}
        return hashlib.sha256(canonical_json(fields).encode()).hexdigest()

    @cached_property
    def _references(self) -> dict[NetSpec, float]:
        return {one.spec: one.ms for one in self.networks if one.role == "reference"}

    def measured(self, role: str) -> list[MeasuredNetwork]:
        """The whole networks of a role."""
        return [one for one in self.networks if one.role == role]

    @cached_property
    def _shares(self) -> dict[TimedLayer, float]:
        return {}

    @property
    def error(self) -> TableError:
        """How far its predictions lie from measurements."""
        found = self.validation
        return TableError(found.predicted.mape, found.noise.floor, found.networks)

    def share_ms(self, layer: TimedLayer) -> float:
        """A layer's share of a network's latency, in ms.

        Raises:
            UserError: when the layer was not measured.
        """
        share = self._shares.get(layer)
        if share is None:
            if layer.key not in self.entries:
                raise UserError(
                    f"the latency table holds no {layer.key}: the network lies outside the space"
                    f" that it was built for; `{BUILD}` measures a space and the published networks"
                )
            share = self.correction.share(layer, self.entries[layer.key])
            check_ms(f"the latency table's share of {layer.key}", share)
            self._shares[layer] = share
        return share

    @property
    def combine(self) -> Combine:
        """Layers take their time one after another."""
        return sum

    def layer_cost(self, layer: Layer, activation: str) -> float:
        """Share of one layer of a stage, in ms."""
        return self.share_ms(StageLayer(layer, activation))

    def stem_and_head_cost(self, spec: NetSpec) -> float:
        """Share of stem and head, in ms."""
        return sum(self.share_ms(layer) for layer in stem_and_head(spec))

    def predict(self, spec: NetSpec) -> float:
        """Latency of one image, in ms; of a reference, what was measured."""
        if spec in self._references:
            return self._references[spec]
        layers = (self.layer_cost(layer, spec.activation) for layer in spec.layers())
        return self.stem_and_head_cost(spec) + sum(layers)

    def check_covers(self, space: MnasSpace) -> None:
        """Refuse a space of which a layer was not measured.

        Raises:
            UserError: naming how many, the first of them, and the command that measures them.
        """
        needed = timed_layers_of_space(space)
        missing = [layer.key for layer in needed if layer.key not in self.entries]
        if not missing:
            return
        built = self.fingerprint.get("space")
        other = ""
        if isinstance(built, dict) and built.get("resolution") != space.resolution:
            other = f", for it was built at {built.get('resolution')} px, not {space.resolution}"
        raise UserError(
            f"the latency table lacks {len(missing)} of the {len(needed)} layers of this space, the"
            f" first is {missing[0]}{other}: measure them with `{BUILD} --resolution"
            f" {space.resolution} --classes {space.classes} --stem_stride {space.stem_stride}`"
        )

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return {
            "format": TABLE_FORMAT,
            "version": TABLE_VERSION,
            "unit": self.unit,
            **dataclasses.asdict(self),
            "entries": dict(sorted(self.entries.items())),
        }

    def write(self, path: str | Path) -> None:
        """Write the table as JSON, as a whole or not at all."""
        lists = ("networks", "entries")
        head = {name: value for name, value in self._fields.items() if name not in lists}
        head[CHECKSUM] = checksum_of(self._fields)
        text = json.dumps(head, indent=1, allow_nan=False)[:-2]
        # A line for each network and entry, where indentation would take thirty.
        networks = ",\n".join("  " + canonical_json(one) for one in self._fields["networks"])
        entries = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(times)}"
            for key, times in self._fields["entries"].items()
        )
        text += f',\n "networks": [\n{networks}\n ],\n "entries": {{\n{entries}\n }}\n}}\n'
        write_atomic(path, text.encode())

    @staticmethod
    def read(path: str | Path) -> LatencyTable:
        """Read what ``write`` wrote.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a null byte in its name
            reason = error.strerror if isinstance(error, OSError) else "no name of a file"
            raise UserError(f"cannot read the latency table {path}: {reason}") from None
        try:
            return _read_table(typed_object("the content", parse_json(content)))
        except UserError as error:
            raise UserError(
                f"{path} is no latency table of this version: {error}; name another one, or remove"
                " it and measure anew (a search does so by itself for its own tables)"
            ) from None


def _read_table(fields: dict[str, Any]) -> LatencyTable:
    for name, expected in (
        ("format", TABLE_FORMAT),
        ("version", TABLE_VERSION),
        ("unit", LatencyTable.unit),
    ):
        if fields.get(name) != expected:
            raise UserError(f"{name} is {short(fields.get(name))}, expected {expected!r}")
    check_names("", fields, ("format", "version", "unit", *_FIELDS, CHECKSUM), optional=(CHECKSUM,))
    reference_ms = typed("reference_ms", fields["reference_ms"], float)
    check_ms("reference_ms", reference_ms)
    table = LatencyTable(
        fingerprint=check_fingerprint(fields["fingerprint"]),
        entries=read_entries(fields["entries"]),
        correction=read_as(Correction, fields["correction"], "correction."),
        validation=read_as(Validation, fields["validation"], "validation."),
        reference_ms=reference_ms,
        networks=typed("networks", fields["networks"], tuple[MeasuredNetwork, ...]),
    )
    _check_validation(table)
    if CHECKSUM in fields:
        check_checksum(fields, "it was measured")
    return table


def _check_validation(table: LatencyTable) -> None:
    """Compute its errors anew, where the table holds the networks that judged it."""
    judges, told = table.measured("held out"), table.validation
    if not judges:
        return
    if told.networks != len(judges):
        raise UserError(
            f"validation.networks is {told.networks}, but {len(judges)} networks were held out"
        )
    errors = [table.predict(one.spec) / one.ms - 1 for one in judges]
    true = {"predicted.mape": fmean(map(abs, errors)), "predicted.bias": fmean(errors)}
    told_errors = {"predicted.mape": told.predicted.mape, "predicted.bias": told.predicted.bias}
    check_errors(told_errors, true)
