"""What an index of images has found, kept between runs in the user's cache folder. No torch.

A file is known by its path, size, inode and times: one that is moved over another may have its size
and time, but not its inode. The file of the cache is a memory, never a source: where it cannot be
read, everything is found anew.
"""

import gzip
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import PIL

from supernet.errors import UserError
from supernet.files.writing import write_atomic

Stamp = tuple[int, int, int, int]
"""Size in bytes, inode, and times of change of content and of status in ns, of a file."""
Facts = tuple[Any, ...]
"""What was found of a file: size, digest, width, height, frames, brightness, contrast."""
KINDS = (int, str, int, int, int, float, float)
"""Types of the facts."""
VERSION = 1
"""Raised whenever images are read otherwise, so that what was found no longer holds."""
SETTLED_S = 2.0
"""Age from which on a file is kept: a later change within a tick of its clock would not show."""
NO_FILE: Stamp = (-1, -1, -1, -1)


def cache_folder() -> Path:
    """Folder for what can be found anew: ``$MNASNET_CACHE``, or ours in the user's cache."""
    users = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MNASNET_CACHE") or f"{users}/mnasnet-search").expanduser()


class IndexCache:
    """Facts of the files below one folder, by path and stamp.

    Args:
        root: the folder.
        kind: what is found of a file; other kinds are kept apart.
        stamp: stamp of the path below the root of an image that is no file.
    """

    def __init__(self, root: Path, kind: str, stamp: Callable[[str], Stamp] | None = None) -> None:
        name = hashlib.blake2b(os.fsencode(f"{root.resolve()}\n{kind}"), digest_size=16).hexdigest()
        self.path = cache_folder() / "images" / f"{name}.json.gz"
        self._root, self._kept = root, _read(self.path)
        self._stamp = stamp or file_stamp
        self._changed = False

    def look_up(self, path: str) -> tuple[Stamp, Facts | None]:
        """The stamp of a file as it is now, and its facts if they were kept under this stamp."""
        stamp = self._stamp(os.path.join(self._root, path))  # noqa: PTH118 - for millions of files
        kept = self._kept.get(path)
        known = kept is not None and stamp != NO_FILE and tuple(kept[:4]) == stamp
        return stamp, tuple(kept[4:]) if kept and known else None

    def add(self, path: str, stamp: Stamp, facts: Facts) -> None:
        """Note the facts of a file that had this stamp before it was read."""
        if time.time_ns() - max(stamp[2:]) > SETTLED_S * 1e9:
            self._kept[path] = [*stamp, *facts]
            self._changed = True

    def save(self) -> None:
        """Write what was added; a folder that cannot be written is said, and costs time only."""
        if not self._changed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps({**_header(), "images": self._kept})
            write_atomic(self.path, gzip.compress(content.encode(), 1))
        except (OSError, UserError) as error:
            sys.stderr.write(f"note: the images will be read anew by the next run ({error})\n")
        self._changed = False


def file_stamp(path: str) -> Stamp:
    """The stamp of a file; ``NO_FILE`` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - for millions of files
    except OSError:
        return NO_FILE
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _header() -> dict[str, object]:
    """What the facts depend on besides the files."""
    return {"version": VERSION, "pillow": PIL.__version__}


def _read(path: Path) -> dict[str, list[Any]]:
    """The kept stamps and facts; none where the file is missing, damaged or of another version."""
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, ValueError, EOFError, zlib.error, RecursionError):
        return {}
    if not isinstance(content, Mapping) or {**content, "images": 0} != {**_header(), "images": 0}:
        return {}
    images = content["images"] if isinstance(content["images"], dict) else {}
    kinds = (int,) * 4 + KINDS
    return {
        path: kept
        for path, kept in images.items()
        if isinstance(kept, list) and tuple(map(type, kept)) == kinds
    }
