"""Checksum of a JSON object: tells a file that was changed from the one written. No torch."""

import hashlib
from collections.abc import Mapping
from typing import Any

from supernet.errors import UserError
from supernet.files.reading import short
from supernet.files.writing import canonical_json

CHECKSUM = "checksum"
"""Field that holds it; a file of version 0.1 has none."""


def checksum_of(fields: Mapping[str, Any]) -> str:
    """SHA-256 of all fields but the checksum itself, in one spelling."""
    told = {name: value for name, value in fields.items() if name != CHECKSUM}
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()


def check_checksum(fields: Mapping[str, Any], made: str) -> None:
    """Refuse fields that are not those of their checksum.

    It keeps what no other field tells: an accuracy, a time, a name. It is no signature: who changes
    a file on purpose can write a new one.

    Args:
        fields: all of a file's, the checksum among them.
        made: how they came to be: ``the search wrote it``.

    Raises:
        UserError: naming both checksums and the ways out.
    """
    told, true = fields[CHECKSUM], checksum_of(fields)
    if told != true:
        raise UserError(
            f"checksum is {short(told)}, but the other fields give {true[:12]}...: the file was"
            f" changed after {made}, restore it; if you changed it yourself, take the checksum out"
        )
