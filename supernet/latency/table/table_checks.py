"""Checks of a latency table's file: types, ranges, and what can be computed anew. No torch."""

import math
from collections.abc import Mapping
from typing import Any

from supernet.cost.model import MAX_MS, MIN_MS, check_ms
from supernet.errors import UserError
from supernet.files.reading import short, typed, typed_object
from supernet.latency.devices.backends import MAX_THREADS
from supernet.latency.devices.device import Description
from supernet.latency.table.correction import Times
from supernet.space.mnasnet import MnasSpace

TOLERANCE = 1e-6
"""Largest difference of an error from the one that is computed anew: another order of sums."""
_MADE = {"date": str, "command": str, "subjects": str, "version": int, "space": MnasSpace}
"""Fields of a fingerprint that a table may lack, with their types."""


def check_fingerprint(value: object) -> dict[str, Any]:
    """A fingerprint as plain values.

    Raises:
        UserError: naming the field that is missing, of another type or out of its range.
    """
    fingerprint = typed_object("fingerprint", value)
    for name, kind in Description.__annotations__.items():
        if name not in fingerprint:
            raise UserError(f"fingerprint lacks {name}")
        typed(f"fingerprint.{name}", fingerprint[name], kind)
    if not 0 <= fingerprint["threads"] <= MAX_THREADS:
        raise UserError(
            f"fingerprint.threads is {short(fingerprint['threads'])}, it must be at least 0 and at"
            f" most {MAX_THREADS}"
        )
    for name, kind in _MADE.items():
        if name in fingerprint:
            typed(f"fingerprint.{name}", fingerprint[name], kind)
    for name in {"settings", "effort"} & set(fingerprint):
        typed_object(f"fingerprint.{name}", fingerprint[name])
    return fingerprint


def read_entries(value: object) -> dict[str, Times]:
    """The times of the layers, by their keys.

    Raises:
        UserError: naming the layer whose times no run takes.
    """
    entries = typed_object("entries", value)
    if not entries:
        raise UserError("entries are empty, they must hold the times of each layer")
    return {key: _times(key, times) for key, times in entries.items()}


def _times(key: str, value: object) -> Times:
    times = typed(f"entries.{key}", value, tuple[float, float])
    for ms in times:
        check_ms(f"entries.{key}", ms)
    return Times(*times)


def check_log_ms(name: str, logs: tuple[float, ...]) -> None:
    """Refuse logarithms of times in ms that no run takes; UserError names the first."""
    for log in logs:
        if not math.log(MIN_MS) <= log <= math.log(MAX_MS):
            raise UserError(
                f"{name} is {log:g}, the logarithm of a time that no run takes: it must be at least"
                f" {math.log(MIN_MS):.1f} and at most {math.log(MAX_MS):.1f}"
            )


def check_errors(told: Mapping[str, float], true: Mapping[str, float]) -> None:
    """Refuse errors of a table that are not those of its own predictions.

    Args:
        told: what the file says, by the name of its field.
        true: what its networks and predictions give.

    Raises:
        UserError: naming the field and both values.
    """
    for name, value in true.items():
        if not math.isclose(told[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            raise UserError(
                f"validation.{name} is {told[name]:g}, but the networks that were held out give"
                f" {value:g}: the file was changed after it was measured"
            )
