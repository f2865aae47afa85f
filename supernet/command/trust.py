"""Trust: which code a configuration may name. No torch.

A config names classes, and naming one imports its module, which runs it. So only our packages and
PyTorch Lightning are taken at their word; any other module must be named on the command line, as a
value (``--data my.images.Birds``) or by ``--trust my.images``. A yaml file trusts nothing.
"""

import argparse
import importlib.machinery
import importlib.util
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from supernet.errors import UserError
from supernet.files.reading import short

KNOWN = ("supernet", "search", "retrain", "pytorch_lightning")
"""Packages whose own classes any config may name."""
TRUST_HELP = "Module that a yaml file may name classes of, besides ours; may be given again."
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust MODULE``, whose values are what ``check_imports`` asks for."""
    parser.add_argument("--trust", action="append", default=[], metavar="MODULE", help=TRUST_HELP)


def check_command_line(words: Sequence[str]) -> None:
    """Refuse files on a command line that name code which the command line does not.

    Raises:
        UserError: naming the file, the code and the option that lets it be run.
    """
    values = list(_values(words))
    files = [Path(value) for _, value in values if _is_file(value)]
    trusted = [value for option, value in values if option == "--trust"]
    for option, value in values:
        # What lies there may have its name from a stranger.
        if option != "--trust" and not _exists(value):
            trusted += [name.rpartition(".")[0] for name in _names(_parsed(value), Path())]
    for file in files:
        check_imports(_parsed(_text(file)), file, trusted)


def check_imports(content: Any, file: Path, trusted: Sequence[str]) -> None:
    """Refuse content of a config that names code of a module which is neither ours nor trusted.

    Args:
        content: plain values.
        file: that holds them; other files that it names are read beside it.
        trusted: modules, and packages with all that lies in them.

    Raises:
        UserError: naming the file, the code and the option that lets it be run.
    """
    if isinstance(content, dict) and "trust" in content:
        raise UserError(f"{file} has trust: no file trusts itself, give --trust MODULE instead")
    for name in _names(content, file):
        module = name.rpartition(".")[0]
        if not any(f"{name}.".startswith(f"{one}.") for one in trusted) and _runs_code(name):
            raise UserError(
                f"{file} names {short(name)}, and naming a class runs its module: if you trust it,"
                f" add --trust {module}"
            )


def _values(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options and their values, in all the spellings of a command line."""
    option = ""
    for word in words:
        if not word.startswith("-"):
            yield option, word
            continue
        option, _, value = word.partition("=")
        if not word.startswith("--") and not value:  # -cFILE
            option, value = word[:2], word[2:]
        if value:
            yield option, value


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def _is_file(value: str) -> bool:
    return _exists(value) and Path(value).is_file()


def _text(file: Path) -> str:
    """Text of a file; empty where it is no text, which no parser reads as a config either."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str) -> Any:
    """A text as JSON or YAML, or as itself where it is neither."""
    try:
        return json.loads(text)  # a long latency table takes YAML minutes
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, _Loader)
    except Exception:  # noqa: BLE001 - PyYAML raises whatever it meets; a parser will say so
        return text


def _names(content: Any, file: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """Dotted names in plain values, in texts that hold some, and in files that they name."""
    if isinstance(content, str):
        yield from _names_of_text(content.strip(), file, seen)
    elif isinstance(content, (dict, list)):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _names(value, file, seen)


def _names_of_text(text: str, file: Path, seen: frozenset[Path]) -> Iterator[str]:
    if _DOTTED.fullmatch(text):
        yield text
    if re.search(r"[{\[:\n]", text) and (inner := _parsed(text)) != text:
        yield from _names(inner, file, seen)
    for path in {Path(text), file.parent / text} - seen if text else ():
        if _is_file(str(path)):
            yield from _names(_parsed(_text(path)), path, seen | {path})


def _runs_code(name: str) -> bool:
    """Whether importing a dotted name would run code that is neither ours nor Lightning's."""
    top = name.partition(".")[0]
    if top not in KNOWN:
        return _is_code(name)
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False  # there is none: the parser says so
    # What a module of ours has imported, such as subprocess, is not ours.
    own = inspect.isclass(found) and found.__module__.partition(".")[0] in KNOWN
    return callable(found) and not own


def _is_code(name: str) -> bool:
    """Whether a dotted name begins with a module that can be imported; nothing is run to see it."""
    package, *rest = name.split(".")
    if package in sys.modules:
        return True
    spec = importlib.util.find_spec(package)
    while spec is not None and spec.origin is None and spec.loader is None and rest:
        # A folder without __init__.py is no code itself, but what lies in it may be.
        places = list(spec.submodule_search_locations or [])
        spec = importlib.machinery.PathFinder.find_spec(rest.pop(0), places)
    return spec is not None and (spec.origin is not None or spec.loader is not None)
