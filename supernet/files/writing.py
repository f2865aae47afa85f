"""Files that are written whole or not at all. No torch.

Content goes into a temporary file of an unpredictable name in the same folder, which is created
anew, so that it follows no link that somebody has laid there; it is on the disk before it gets its
name, and the name is on the disk before the writer goes on.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from supernet.errors import UserError

AGAIN = (
    "nothing was lost, an earlier file is as it was: make room or mend the folder, then run the"
    " same command again"
)
_TEMPORARY = re.compile(r"\..+\.[0-9a-z_]{8,16}\.tmp")
"""Names of ``temporary_path``, and of ``tempfile`` with such a prefix and suffix."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def temporary_path(path: Path) -> Path:
    """A name beside a file that nobody can foresee; ``remove_temporaries`` knows it again."""
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}.tmp")


@contextlib.contextmanager
def replacing(path: str | Path, way_on: str = AGAIN) -> Iterator[IO[bytes]]:
    """A stream whose content replaces a file once the block has ended without an error.

    An interruption or a full disk leaves the earlier file as it was.

    Args:
        path: of the file.
        way_on: ends the line about a failure: what is left, and what to do.

    Raises:
        UserError: when the disk is full or the folder cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> with replacing("notes.txt") as stream:
        ...     _ = stream.write(b"whole, or not at all")
        >>> Path("notes.txt").read_text()
        'whole, or not at all'
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        with os.fdopen(os.open(temporary, _FLAGS, 0o666), "wb") as stream:
            yield stream
        put_in_place(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {way_on}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Let a finished file of the same folder or below replace another, durably; or a folder.

    Raises:
        OSError: when the disk is full or the folder cannot be written.
    """
    for one in (*temporary.rglob("*"), temporary):
        _sync(one)
    earlier = temporary_path(temporary)
    if path.is_dir():  # nothing replaces a folder that holds files
        path.replace(earlier)
    temporary.replace(path)
    shutil.rmtree(earlier, ignore_errors=True)
    # Some file systems cannot do this for a folder.
    with contextlib.suppress(OSError):
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: str | Path, data: bytes) -> None:
    """Replace a file as a whole: an interruption or a full disk leaves the earlier one as it was.

    Args:
        path: of the file.
        data: its content.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    with replacing(path) as stream:
        stream.write(data)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers have left in a folder of which this process is the only writer."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(path.name):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(path: str | Path, value: object, indent: int = 1) -> None:
    """Replace a file by a value as JSON, which a person may look into.

    Args:
        path: of the file.
        value: of JSON's types.
        indent: spaces of each level.

    Raises:
        UserError: when the disk is full or the folder cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> write_json("told.json", {"ms": 12.5})
        >>> Path("told.json").read_text().split()
        ['{', '"ms":', '12.5', '}']
    """
    write_atomic(path, (json.dumps(value, indent=indent) + "\n").encode())


def canonical_json(value: object) -> str:
    """One spelling of a value: sorted keys, no spaces, exact floats.

    Raises:
        ValueError: for a number that is not finite.

    Examples:
        >>> canonical_json({"b": 1, "a": [0.5]})
        '{"a":[0.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
