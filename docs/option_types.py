"""Types of options, as a reader writes their values."""

import re
from collections.abc import Iterable
from types import NoneType
from typing import Any, Literal, get_args, get_origin

TYPES = {"int": "whole number", "float": "number", "str": "text", "positive int": "whole number"}


CLASSES = {"LightningDataModule": "class", "Accelerator": "class", "timedelta": "mapping"}
"""What is written for an object of a class."""


def type_words(kind: Any) -> str:
    """A type as a reader writes its values; empty for text, as argparse has it."""
    inner, origin = get_args(kind), get_origin(kind)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is dict:
        return "mapping"
    if origin in (list, tuple, Iterable):
        one = type_words(inner[0])
        return f"list of ({one})" if " | " in one else f"list of {one}"
    if inner:
        # Sorted, since typing hands out whichever order of a union it met first in the process.
        return " | ".join(sorted({type_words(one) for one in inner if one is not NoneType}))
    if kind in (None, str, bool):
        return {None: "", str: "str", bool: "true | false"}[kind]
    if not isinstance(kind, type):  # a function of ours that reads a word
        return {"config_path": "file"}.get(kind.__name__, kind.__name__.replace("_", " "))
    if issubclass(kind, (int, float)) and kind.__module__ != "builtins":
        return str(kind.__doc__)  # jsonargparse's, which names the range
    return {"Path": "path"}.get(kind.__name__, kind.__name__)


def words_of_type(kind: str) -> str:
    """A type of the list of options in words, such as ``list of whole numbers``."""
    kind = re.sub(r"list of (int|float)\b", lambda found: f"list of {TYPES[found[1]]}s", kind)
    kind = re.sub(r"^(positive )?(int|float|str)$|\b(int|float|str)\b", _word, kind)
    kind = kind.replace("restricted to be ≥0", "of at least 0")
    return " or ".join(dict.fromkeys(CLASSES.get(one, one) for one in kind.split(" | ")))


def _word(found: re.Match[str]) -> str:
    words = TYPES[found[2] or found[3]]
    return f"{words} above 0" if found[1] else words
