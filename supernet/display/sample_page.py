"""A page of samples: a row of images of each class, as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from supernet.data.image_reading import CorruptImageError, ImageReader
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
    columns, side = max(len(row.paths) for row in rows), TILE + 2 * GAP
    page = Image.new("RGB", (columns * side, len(rows) * side), "white")
    for y, row in enumerate(rows):
        for x, path in enumerate(row.paths):
            page.paste(_tile(path, reader), (x * side + GAP, y * side + GAP))
    width, height = max(LEFT + page.width / INCH, 6.0), TOP + page.height / INCH
    figure = new_figure(width, height)
    place = (LEFT / width, 0, page.width / INCH / width, 1 - TOP / height)
    axes = figure.add_axes(place)
    axes.imshow(np.asarray(page), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for y, row in enumerate(rows):
        name = row.name if len(row.name) <= LONGEST else f"{row.name[: LONGEST - 1]}…"
        axes.text(-10, (y + 0.5) * side, name, ha="right", va="center", fontsize=9, color=INK)
    figure.text(0.02, 1 - 0.3 / height, title, fontsize=9, color=MUTED, parse_math=False)
    return figure


def _tile(path: Path, reader: ImageReader) -> Image.Image:
    """A small image on a grey square; an empty square if it has gone bad since it was found."""
    try:
        image = ImageOps.contain(reader.read(str(path)), (TILE, TILE))
    except CorruptImageError:
        image = Image.new("RGB", (1, 1), "white")
    return ImageOps.pad(image, (TILE, TILE), color="#E4E8EC")
