"""LiteRT's own environment: its converter wants an older torch than ours, and many packages more.

The folder is made on first use by ``venv`` and pip, whose settings (an index, a folder of wheels)
hold as ever. What is done with LiteRT is done there, by ``litert_child``, which is given to that
environment's Python as a file.
"""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from supernet.command.output import say
from supernet.data.images.index_cache import cache_folder
from supernet.errors import UserError, one_line
from supernet.files.locking import locked

PACKAGES = ("torch==2.13.0", "litert-torch==0.10.0", "ai-edge-litert==2.3.0")
"""What is installed; litert-torch itself asks for the one version of its converter and quantizer
that it fits."""
SETTING = "MNASNET_LITERT"
"""Variable that names the folder."""
CHILD = Path(__file__).with_name("litert_child.py")
MARK = ".mnasnet-litert"
"""File in an environment that is made here; once it is whole, it holds ``PACKAGES``."""


def environment_folder() -> Path:
    """``$MNASNET_LITERT``, or a folder in the cache that is these packages' own."""
    digest = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    given = os.environ.get(SETTING)
    return Path(given).expanduser() if given else cache_folder() / f"litert-{digest}"


def litert_python() -> Path:
    """Python of the environment, which is made where there is none; a user's own stays as it is.

    Raises:
        UserError: when it cannot be made, or the folder is something else.
    """
    folder = environment_folder()
    python, mark = folder / "bin" / "python", folder / MARK
    if folder.exists() and not mark.exists():
        if not python.exists():
            raise UserError(
                f"{folder} has no bin/python: let {SETTING} name an environment that has"
                " litert-torch, or a folder that is not there yet"
            )
    elif not mark.exists() or mark.read_text() != " ".join(PACKAGES):
        _make(folder, python)
    return python


def _make(folder: Path, python: Path) -> None:
    say(f"litert: installing {' and '.join(PACKAGES)} into {folder}, once: minutes, 2 GB or more")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise _not_made(folder, error.strerror) from None
    with locked(folder):
        for words in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-I", "-m", "pip", "install", *PACKAGES],
        ):
            done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
                errors = [line for line in lines if line.startswith("ERROR:")]
                raise _not_made(folder, (errors or lines)[-1].removeprefix("ERROR: "))
        (folder / MARK).write_text(" ".join(PACKAGES))


def _not_made(folder: Path, reason: object) -> UserError:
    return UserError(
        f"its environment cannot be made in {folder}: {one_line(reason)}; run the same command"
        f" where pip finds packages and room, or let {SETTING} name one that has litert-torch"
    )


def run_child(verb: str, **given: Any) -> dict[str, np.ndarray]:
    """What a function of ``litert_child`` gives for arrays, called in the environment.

    Raises:
        UserError: when there is no environment.
        RuntimeError: with the line in which the child ended.
    """
    packed = io.BytesIO()
    np.savez(packed, **given)
    words = [str(litert_python()), "-I", str(CHILD), verb]
    done = subprocess.run(words, input=packed.getvalue(), capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"it ended with status {done.returncode}")
    with np.load(io.BytesIO(done.stdout)) as found:
        return dict(found)
