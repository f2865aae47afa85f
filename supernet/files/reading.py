"""Dataclasses from plain values (JSON, YAML), trusting nothing. No torch.

Whatever is wrong is named in one line: the field, what it holds and what it must be.
"""

import dataclasses
import math
import reprlib
import types
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from supernet.errors import UserError, check_choice, one_line
from supernet.files.json_text import refuse_twice

_T = TypeVar("_T")
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a string without control characters",
    list: "a list",
}
"""What a value of a type must be, in words."""


def read_as(kind: type[_T], value: object, place: str = "", partial: bool = False) -> _T:
    """A dataclass from the object that holds its fields.

    Args:
        kind: a dataclass of bool, int, float, str, literals, dataclasses, and tuples and mappings
            of them.
        value: a JSON object: all fields of ``kind`` and no others.
        place: in front of a field's name in an error, such as ``space.``; its name where it ends
            with a separator, as here.
        partial: whether fields with a default may be missing.

    Raises:
        UserError: naming the field, what it holds and what it must be.

    Examples:
        >>> from supernet.space.stage import Stage
        >>> fields = {"op": "conv", "kernel": "3", "expand": 1, "se": 0.0, "skip": "none"}
        >>> read_as(Stage, {**fields, "filters": 8, "repeats": 1, "stride": 1}, "stage.")
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: stage.kernel is '3', it must be a whole number
    """
    fields, kinds = typed_object(place.rstrip(".: ") or "the content", value), get_type_hints(kind)
    check_names(place, fields, tuple(kinds), _optional(kind) if partial else ())
    return kind(
        **{name: typed(place + name, fields[name], kinds[name]) for name in kinds if name in fields}
    )


def _optional(kind: Any) -> set[str]:
    none = dataclasses.MISSING
    return {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is not none or field.default_factory is not none
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
    """``value`` as ``kind``: what ``read_as`` takes as a field's, list, or None.

    Raises:
        UserError: naming the field, what it holds and what it must be.
    """
    if get_origin(kind) is not None:
        return _typed_generic(name, value, get_origin(kind), get_args(kind))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return read_as(kind, value, f"{name}.", partial=True)
    if kind is list and type(value) is tuple:
        value = list(value)
    if kind is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if type(value) is not kind or not _is_usable(value):
        raise UserError(f"{name} is {short(value)}, it must be {KINDS[kind]}")
    return value


def _typed_generic(name: str, value: Any, origin: Any, kinds: tuple[Any, ...]) -> Any:
    if origin is types.UnionType:  # of a type and None
        return None if value is None else typed(name, value, kinds[0])
    if origin is tuple:
        return _typed_tuple(name, value, kinds)
    if origin is Literal:
        check_choice(name, value, kinds)
        return value
    items = typed_object(name, value).items()  # of a mapping
    return {key: typed(f"{name}.{key}", one, kinds[1]) for key, one in items}


def _typed_tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    item, values = kinds[0], typed(name, value, list)
    if kinds[-1] is not ... and len(values) != len(kinds):
        raise UserError(f"{name} is {short(value)}, it must be a list of {len(kinds)}")
    return tuple(
        typed(f"{name}[{number}]" if dataclasses.is_dataclass(item) else name, one, item)
        for number, one in enumerate(values, 1)
    )


def _is_usable(value: object) -> bool:
    if isinstance(value, str):
        return not has_control(value)
    return not isinstance(value, float) or math.isfinite(value)


def has_control(text: str) -> bool:
    """Whether a text holds what a terminal obeys, or half of a surrogate pair."""
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def short(value: object) -> str:
    """One line for a value of any size.

    Examples:
        >>> short(list(range(1000)))
        '[0, 1, 2, 3, 4, 5, 6, 7, ...]'
    """
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

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("mine.yaml").write_text("width: 0.35")
        >>> read_yaml("mine.yaml", "name a space")
        {'width': 0.35}
    """
    text = read_text(Path(path), way_out)
    try:
        return parse_yaml(text)
    except UserError as error:
        raise UserError(f"cannot read {path} ({error}): {way_out}") from None


def parse_yaml(text: str) -> Any:
    """Content of a yaml text, in which no mapping gives a name twice.

    Raises:
        UserError: naming what is wrong.

    Examples:
        >>> parse_yaml("kernels: [3, 5]")
        {'kernels': [3, 5]}
        >>> parse_yaml("{width: 1, width: 2}")
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: field 'width' stands there twice: keep one
    """
    try:
        return yaml.load(text, _Loader)
    except UserError:
        raise
    except RecursionError:
        raise UserError("it is nested too deep") from None
    except Exception as error:  # noqa: BLE001 - PyYAML's constructors raise whatever they meet
        raise UserError(one_line(error)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself would keep the last of two equal names."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each name once."""
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        refuse_twice([name for name in names if isinstance(name, str)])
        return super().construct_mapping(node, deep)


def read_text(path: Path, way_out: str) -> str:
    """Text of a file.

    Raises:
        UserError: naming the file and why it cannot be read; ``way_out`` is what to name instead.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: a null byte in its name, or no text
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError(f"cannot read {path} ({reason}): {way_out}") from None
