"""Files that are written whole or not at all. No torch."""

import contextlib
import json
import os
from pathlib import Path

from supernet.errors import UserError


def write_atomic(path: str | Path, data: bytes) -> None:
    """Replace a file as a whole: an interruption or a full disk leaves the earlier one as it was.

    Args:
        path: of the file.
        data: its content.

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


def write_json(path: str | Path, value: object, indent: int = 1) -> None:
    """Replace a file by a value as JSON, which a person may look into.

    Args:
        path: of the file.
        value: of JSON's types.
        indent: spaces of each level.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    write_atomic(path, (json.dumps(value, indent=indent) + "\n").encode())


def canonical_json(value: object) -> str:
    """One spelling of a value: sorted keys, no spaces, exact floats.

    Raises:
        ValueError: for a number that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
