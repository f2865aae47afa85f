"""A page of samples: a row of images of each class, as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from supernet.data.images.image_reading import CorruptImageError, ImageReader
from supernet.display.figures import INK, MUTED, new_figure

TILE = 112
"""Side of the square that an image is fitted into, px."""
GAP = 4
"""Paper around each square, px."""
INCH = 160
"""Pixels of an inch, as figures are saved."""
LEFT, TOP = 1.9, 0.55
"""Room for the names of classes and for the title, in inches."""
LONGEST = 22
"""Letters of a class's name that are shown."""


@dataclass(frozen=True)
class Sample:
    """A row of the page."""

    name: str
    """Name of the class."""
    paths: Sequence[Path]
    """Images that can be read."""


def draw_samples(rows: Sequence[Sample], reader: ImageReader, title: str) -> Figure:
    """A row for each class; images keep their shape, the space beside them is grey."""
    read = [(row.name, [_read(path, reader) for path in row.paths]) for row in rows]
    return draw_rows(read, title)


def draw_rows(rows: Sequence[tuple[str, Sequence[Image.Image]]], title: str) -> Figure:
    """Named rows of images, each fitted to a square."""
    columns, side = max(len(images) for _, images in rows), TILE + 2 * GAP
    page = Image.new("RGB", (columns * side, len(rows) * side), "white")
    for y, (_, images) in enumerate(rows):
        for x, image in enumerate(images):
            page.paste(_tile(image), (x * side + GAP, y * side + GAP))
    width, height = max(LEFT + page.width / INCH, 6.0), TOP + page.height / INCH
    figure = new_figure(width, height)
    place = (LEFT / width, 0, page.width / INCH / width, 1 - TOP / height)
    axes = figure.add_axes(place)
    axes.imshow(np.asarray(page), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for y, (full, _) in enumerate(rows):
        name = full if len(full) <= LONGEST else f"{full[: LONGEST - 1]}…"
        axes.text(-10, (y + 0.5) * side, name, ha="right", va="center", fontsize=9, color=INK)
    figure.text(0.02, 1 - 0.3 / height, title, fontsize=9, color=MUTED, parse_math=False)
    return figure


def _read(path: Path, reader: ImageReader) -> Image.Image:
    """An image made small; nearly nothing if it has gone bad since it was found."""
    try:
        return ImageOps.contain(reader.read(str(path)), (TILE, TILE))
    except CorruptImageError:
        return Image.new("RGB", (1, 1), "white")


def _tile(image: Image.Image) -> Image.Image:
    """An image on a grey square."""
    return ImageOps.pad(image, (TILE, TILE), color="#E4E8EC")
