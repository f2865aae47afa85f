"""A page of sections as one file: what a section may hold, and how it becomes HTML.

Names of classes, paths and settings are strangers' text: Jinja escapes all but what is marked as
safe, and the page's own policy lets it load nothing.
"""

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@dataclass(frozen=True)
class Picture:
    """A PNG with its words, which also stand for it where it is not seen."""

    png: bytes
    words: str

    @property
    def source(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class PageTable:
    """A table of text; columns of words, those in ``left``, stand at the left."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[str]
    folded: bool = False
    """Whether it is only shown when it is asked for."""


@dataclass(frozen=True)
class Code:
    """Lines to copy, or settings to look up."""

    caption: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """Part of a page, in the order in which it is shown."""

    title: str
    alarms: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    """Pairs of name and value."""
    live: str = ""
    """A figure that answers to the mouse: escaped, unless it is marked as HTML that is safe."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[PageTable] = ()
    cards: Sequence[Picture] = ()
    """Small pictures beside each other."""
    notes: Sequence[str] = ()
    code: Sequence[Code] = ()

    @property
    def anchor(self) -> str:
        """Its name in an address."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def render(title: str, origin: str, sections: Sequence[Section]) -> str:
    """The page as HTML; ``origin`` says what it was made from."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(title=title, origin=origin, sections=sections)
