"""Fields of written files, held against their page of the reference."""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "files.md"
ANY, REST = "NAME", "*"
"""What stands on the page for any name, and for all that lies below."""
Place = tuple[str, ...]
"""Names from the top of a file to a value; ``[]`` is each row of a list."""


@cache
def told_of(heading: str) -> frozenset[Place]:
    """Fields that the page tells of below a heading."""
    sections = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))[heading]
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return frozenset(tuple(name.replace("[]", ".[]").split(".")) for name in names)


def unnamed(run: Path) -> set[str]:
    """Files of a run's folder that the page does not name."""
    spans = set(re.findall(r"`([^`\s]+)`", PAGE.read_text())) - {ANY, REST, "[]"}
    patterns = [re.sub(r"NAME|DIGEST|N\b", "*", one + "*" * one.endswith("/")) for one in spans]
    files = [str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()]
    return {one for one in files if not any(fnmatchcase(one, pattern) for pattern in patterns)}


def undocumented(path: Path, heading: str = "") -> set[str]:
    """Fields of a file that the page does not tell of; by default below the file's own name."""
    told = told_of(heading or re.sub(r"^arch-.*", "arch.json", path.name))
    return {".".join(place) for place in places(content(path), ()) if not is_told(place, told)}


def content(path: Path) -> Any:
    """What a file holds: JSON, also compressed or one object a line, or a table with a head."""
    if path.suffix == ".csv":
        with path.open() as file:
            return dict.fromkeys(next(csv.reader(file)))
    if path.suffix == ".jsonl":
        rows = map(json.loads, path.read_text().splitlines())
        return {name: value for row in rows for name, value in row.items()}
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt") as file:
        return json.load(file)


def places(value: Any, place: Place) -> Iterator[Place]:
    """Places of all values; of a list or an object that is empty, its own."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from places(one, (*place, name))
    elif isinstance(value, list) and value:
        for one in value:
            yield from places(one, (*place, "[]"))
    else:
        yield place


def is_told(place: Place, told: frozenset[Place]) -> bool:
    """Whether one of the fields that are told of is this one, or lies in it where it is empty."""
    return any(_matches(place, field) for field in told)


def _matches(place: Place, field: Place) -> bool:
    if field[-1] == REST:
        field = field[:-1] + (ANY,) * max(1, len(place) - len(field) + 1)
    both = zip(place, field, strict=False)
    return len(place) <= len(field) and all(b in (a, ANY) for a, b in both)
