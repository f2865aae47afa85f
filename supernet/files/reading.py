"""Dataclasses from plain values (JSON, YAML), trusting nothing. No torch.

Whatever is wrong is named in one line: the field, what it holds and what it must be.
"""

import dataclasses
import math
import reprlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from supernet.errors import UserError, one_line

_T = TypeVar("_T")
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    list: "a list",
}


def read_as(kind: type[_T], value: object, place: str = "", partial: bool = False) -> _T:
    """A dataclass from the object that holds its fields.

    Args:
        kind: a dataclass of bool, int, float, str, dataclasses, and tuples and mappings of them.
        value: a JSON object: all fields of ``kind`` and no others.
        place: in front of a field's name in an error, such as ``space.``; its name where it ends
            with a separator, as here.
        partial: whether fields with a default may be missing.

    Raises:
        UserError: naming the field, what it holds and what it must be.
    """
    fields, kinds = typed_object(place.rstrip(".: ") or "the content", value), get_type_hints(kind)
    check_names(place, fields, tuple(kinds), _optional(kind) if partial else ())
    return kind(
        **{name: typed(place + name, fields[name], kinds[name]) for name in kinds if name in fields}
    )


def _optional(kind: Any) -> set[str]:
    return {
        field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING
    }


def check_names(
    place: str, fields: dict[str, Any], allowed: Sequence[str], optional: Collection[str] = ()
) -> None:
    """Refuse unknown and missing fields by name.

    Raises:
        UserError: with the allowed names, or with the missing one.
    """
    unknown = [name for name in fields if name not in allowed]
    missing = [name for name in allowed if name not in fields and name not in optional]
    if unknown:
        raise UserError(
            f"unknown field {place}{short(unknown[0])}, allowed are {', '.join(allowed)}"
        )
    if missing:
        raise UserError(f"field {place}{missing[0]} is missing: restore it")


def typed_object(name: str, value: object) -> dict[str, Any]:
    """``value`` as a JSON object.

    Raises:
        UserError: when it is something else.
    """
    if not isinstance(value, dict):
        raise UserError(f"{name} is {short(value)}, it must be a JSON object")
    return value


def typed(name: str, value: Any, kind: Any) -> Any:
    """``value`` as ``kind``: bool, int, float, str, list, a dataclass, a tuple or a mapping.

    Raises:
        UserError: naming the field, what it holds and what it must be.
    """
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(
            typed(f"{name}[{number}]" if dataclasses.is_dataclass(item) else name, one, item)
            for number, one in enumerate(typed(name, value, list), 1)
        )
    if get_origin(kind) is Mapping:
        items = typed_object(name, value).items()
        return {key: typed(f"{name}.{key}", one, get_args(kind)[1]) for key, one in items}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return read_as(kind, value, f"{name}.", partial=True)
    if kind is list and type(value) is tuple:
        value = list(value)
    if kind is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UserError(f"{name} is {short(value)}, it must be {_KINDS[kind]}")
    return value


def short(value: object) -> str:
    """One line for a value of any size."""
    shortener = reprlib.Repr()
    shortener.maxstring, shortener.maxlist = 60, 8
    return shortener.repr(value)


def read_yaml(path: str | Path, way_out: str) -> Any:
    """Content of a yaml file.

    Args:
        path: of the file.
        way_out: ends the line about a file that cannot be read: what to name instead.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path} ({one_line(error)}): {way_out}") from None


def read_text(path: Path, way_out: str) -> str:
    """Text of a file.

    Raises:
        UserError: naming the file and why it cannot be read; ``way_out`` is what to name instead.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError(f"cannot read {path} ({reason}): {way_out}") from None
