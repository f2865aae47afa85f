"""Files that are written whole or not at all. No torch."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from supernet.errors import UserError


def write_atomic(path: str | Path, data: bytes) -> None:
    """Replace a file as a whole: an interruption or a full disk leaves the earlier one as it was.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; nothing was lost, an earlier file is as it"
            " was: make room or mend the folder, then run the same command again"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def canonical_json(value: object) -> str:
    """One spelling of a value: sorted keys, no spaces, exact floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
