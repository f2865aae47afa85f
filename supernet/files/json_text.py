"""JSON text of a stranger's: read once, and told by a checksum from what was written. No torch."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from supernet.errors import UserError
from supernet.files.writing import canonical_json

CHECKSUM = "checksum"
"""Field that holds it; a file of version 0.1 has none."""


def parse_json(text: bytes) -> Any:
    """Content of a JSON text, in which no object gives a name twice.

    Raises:
        UserError: naming what is wrong.

    Examples:
        >>> parse_json(b'{"ms": 12}')
        {'ms': 12}
        >>> parse_json(b'{"ms": 12, "ms": 13}')
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: field 'ms' stands there twice: keep one
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except UserError:
        raise
    except (ValueError, RecursionError):
        raise UserError("not JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_twice([name for name, _ in pairs])
    return dict(pairs)


def refuse_twice(names: list[str]) -> None:
    """Refuse an object that gives one name twice, of which a parser keeps the last; UserError."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"field {twice[:60]!r} stands there twice: keep one")


def checksum_of(fields: Mapping[str, Any]) -> str:
    """SHA-256 of all fields but the checksum itself, in one spelling.

    Examples:
        >>> fields = {"ms": 12.0}
        >>> checksum_of(fields) == checksum_of({**fields, "checksum": "anything"})
        True
    """
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
            f"checksum is {str(told)[:12]!r}, but the other fields give {true[:12]!r}: the file was"
            f" changed after {made}, restore it; if you changed it yourself, take the checksum out"
        )
