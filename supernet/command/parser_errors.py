"""Parser errors: what jsonargparse says of a value, as one line that a person can read. No torch.

Of a value that may be of several types it lists why it is none of them, over a dozen lines; of
these a person wants the one that is about what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from supernet.errors import one_line
from supernet.files.reading import KINDS

UNION = "Does not validate against any of the Union subtypes"
LONGEST_LINE, LONGEST_VALUE = 1500, 80
"""Characters of an error, as jsonargparse repeats what it was given, and of a value in it."""
_WORDS = {kind.__name__: words for kind, words in KINDS.items()}
_OF_TYPE = re.compile(r"Expected an? (<class '[\w.]+'>|typing\..*)|Not a valid subclass of .*")
"""Reasons that only say that the value is of another type."""
_WITHIN = re.compile(r"Problem with given class_path '(.+?)': ")
_MISSING = re.compile(r"the following arguments are required: ([\w.]+)")
_UNKNOWN = re.compile(r"Option '(.+?)' is not accepted")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.+)")
_VALUE = re.compile(r'Parser key "(.+?)": Expected an? (.+?)\. Got value: (.*)')


def readable(message: str) -> str:
    """An error of a parser as one line, no longer than is read."""
    line = one_line(message)
    named, value = re.match(r'Parser key "(.+?)":', line), _VALUE.fullmatch(line)
    if named and UNION in message:
        line = _of_several(named[1], message)
    elif value:
        line = _wrong(value[1], value)
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."


def not_made(message: str) -> str:
    """Why a class of a setting, such as a logger, could not be made, in one line; else empty."""
    if found := re.search(r"Problem with given class_path '(.+?)':\s*([^\n]+)", message):
        return f"{found[1]} cannot be made: {found[2]}"
    kind, told = _class_of(message), _reasons(message)
    if UNION not in message or not kind or not told:
        return ""
    return f"{kind} cannot be made: {told[-1]}"[:LONGEST_LINE]


def _of_several(name: str, message: str) -> str:
    """The line about a value of several types: of a class among them, if one was meant."""
    if told := _reasons(message):
        # Of equals the last: the first may be of a type that the value was not meant for.
        return _line(name, _class_of(message), told[-1])
    value, listed = message.rpartition("Given value:")[2], re.search(r"Subtypes: \[(.*)\]", message)
    types = " or ".join(_types(listed[1])) if listed else "something else"
    return f"{name} is {_short(one_line(value))}, it must be {types}"


def _reasons(message: str) -> list[str]:
    """Why a value is none of several types, but for what only names another type."""
    errors = message.partition("Errors:")[2].rpartition("Given value type:")[0]
    reasons = map(one_line, re.split(r"\n\s*- ", errors))
    return [one for one in dict.fromkeys(reasons) if one and not _OF_TYPE.fullmatch(one)]


def _class_of(message: str) -> str:
    """Name of the class that was meant; empty where the message does not tell."""
    found = re.search(r"class_path(?:'?: ?|=| )['\"]([\w.]+)['\"]", message)
    return found[1].rpartition(".")[2] if found else ""


def _line(name: str, kind: str, reason: str) -> str:
    reason = _WITHIN.sub("", reason)
    if missing := _MISSING.search(reason):
        return f"{name}: {kind or 'the class'} needs {missing[1]}: add --{name}.{missing[1]}"
    if unknown := _UNKNOWN.search(reason):
        of_class = f" of {kind}" if kind else ""
        lists = f": --{name}.help {kind or 'CLASS'} lists what there is"
        return f"{name}.{unknown[1]} is no option{of_class}{lists}"
    if no_class := _NO_CLASS.search(reason):
        return (
            f"{name} is {_short(no_class[1])}, but no class of that name is known: correct it, or"
            " name its module too, as in my.module.NAME"
        )
    value = _VALUE.search(reason)
    return _wrong(f"{name}.{value[1]}", value) if value else f"{name}: {reason}"


def _wrong(name: str, found: re.Match[str]) -> str:
    return f"{name} is {_short(found[3])}, it must be {' or '.join(_types(found[2]))}"


def _types(text: str) -> Iterator[str]:
    """What a value of types in a list must be, without the one that stands for nothing."""
    for one in re.split(r", (?![^\[]*\])", text):
        name = re.sub(r"<class '(.+?)'>", r"\1", one)
        if name != "NoneType":
            short = re.sub(r"\b(?:[a-z]\w*\.)+(\w+)", r"\1", name)
            yield _WORDS.get(short, re.sub(r"^Literal\[(.*)\]$", r"one of \1", short))


def _short(text: str) -> str:
    return repr(text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ...")
