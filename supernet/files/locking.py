"""Lock of a run folder: one process writes into it, and others are told which one."""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from supernet.errors import UserError, one_line
from supernet.files.reading import short
from supernet.files.writing import remove_temporaries

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: dict[Path, int] = {}
"""Descriptors of the locks that this process holds, by folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process, of all machines, that writes into a run folder until the block ends.

    The lock is the system's, on the file ``.lock``, which says for people who holds it. It ends
    with its process, whatever ends that, and is not inherited by the processes that it starts.
    What killed writers left in the folder is removed.

    Args:
        folder: of the run; one that is not there is not locked.

    Raises:
        UserError: naming the process that holds it, or when the folder cannot be written.
    """
    folder = folder.resolve()
    # A command within a command, such as tests run, has the folder already.
    if folder in _held or not folder.is_dir():
        yield
        return
    descriptor = _open(folder / ".lock")
    try:
        _take(folder, descriptor)
        _held[folder] = descriptor
        for place in (folder, folder / "checkpoints"):
            remove_temporaries(place)
        yield
    finally:
        _held.pop(folder, None)
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; mend the folder or name another --run"
        ) from None


def _take(folder: Path, descriptor: int) -> None:
    try:
        # Of the two kinds of locks the one that a forked process, such as a loader's, does not
        # share: it would go on holding the lock when this process has been killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            raise UserError(
                f"{folder} is being written by {_shown(holder)}: wait for it, end it, or name"
                " another --run"
            ) from None
        sys.stdout.write(
            f"note: {folder} lies where nothing can be locked: start no second command in it\n"
        )
    os.ftruncate(descriptor, 0)
    command = one_line(shlex.join(sys.orig_argv[1:]))[:200]
    holder = f"process {os.getpid()} on {socket.gethostname()} (python {command})\n"
    with contextlib.suppress(OSError):  # a full disk has nothing to say to the next one
        os.pwrite(descriptor, holder.encode(), 0)


def _shown(holder: str) -> str:
    return holder if holder.isprintable() and holder else f"another process {short(holder)}"
