"""The way from images and a device to a network in one picture: ``python docs/how_it_works.py``.

Draws docs/how-it-works.png with the numbers of today's defaults; a test checks that it is of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from search.settings import Final, SurrogateSettings

PICTURE = Path(__file__).with_name("how-it-works.png")
INK, FAINT, GIVEN, SEARCH, RETRAIN = "#22303C", "#66737F", "#5B5F97", "#B4672A", "#3F7F67"


class Box(NamedTuple):
    """A step: the middle of its box in the picture's units, and what stands in it."""

    x: float
    y: float
    color: str
    title: str
    text: str


def boxes() -> dict[str, Box]:
    """The steps by their names, with the numbers of the defaults."""
    tuned, final = SurrogateSettings(), Final().settled("tuned")
    later = tuned.networks - tuned.first
    return {
        "images": Box(1.2, 4.5, GIVEN, "Your images", "a folder for each class"),
        "space": Box(1.2, 2.75, GIVEN, "The space", "7 blocks, 432 choices each"),
        "device": Box(1.2, 1.0, GIVEN, "Your device", "and a limit, such as 12 ms"),
        "table": Box(4.3, 1.0, SEARCH, "1  Time its layers", "a table predicts the rest"),
        "tune": Box(4.3, 4.5, SEARCH, "2  Tune networks", f"{tuned.first} at first, a few steps"),
        "fit": Box(7.4, 4.5, SEARCH, "3  Fit the surrogate", "it predicts all others"),
        "learn": Box(7.4, 2.75, SEARCH, "4  Controller learns", "rewards: quality and time"),
        "propose": Box(4.3, 2.75, SEARCH, "5  It proposes", f"{later} more are tuned"),
        "choose": Box(
            10.5, 2.75, SEARCH, "6  Choose", f"of {final.candidates} finalists: arch.json"
        ),
        "retrain": Box(10.5, 4.5, RETRAIN, "7  Train from scratch", "the chosen network alone"),
        "ship": Box(13.6, 4.5, RETRAIN, "8  Test and export", "ONNX, LiteRT and others"),
    }


ARROWS = (
    ("images", "tune"),
    ("space", "propose"),
    ("device", "table"),
    ("tune", "fit"),
    ("fit", "learn"),
    ("learn", "propose"),
    ("propose", "tune"),
    ("learn", "choose"),
    ("choose", "retrain"),
    ("retrain", "ship"),
)
WIDTH, HEIGHT = 2.6, 0.95


def draw(path: Path = PICTURE) -> None:
    """Draw the picture, always of the same bytes for the same words."""
    figure = Figure(figsize=(12.6, 4.7), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-0.3, 15.1), ylim=(0.35, 5.75))
    for x, color, name in (
        (-0.1, GIVEN, "what you give"),
        (3.0, SEARCH, "search: 1 once for a device, 2 to 5 in rounds"),
        (12.3, RETRAIN, "retraining"),
    ):
        axes.text(x, 5.3, name, fontsize=14, color=color, fontweight="bold")
    for start, end in ARROWS:
        _draw_arrow(axes, boxes()[start], boxes()[end])
    _draw_prices(axes)
    for box in boxes().values():
        _draw_box(axes, box)
    figure.savefig(path, metadata={"Description": digest(), "Software": None})


def digest() -> str:
    """What the picture shows, in 16 hexadecimal digits."""
    return hashlib.sha256(repr((boxes(), ARROWS)).encode()).hexdigest()[:16]


def _draw_box(axes: Axes, box: Box) -> None:
    corner = box.x - WIDTH / 2, box.y - HEIGHT / 2
    style = "round,pad=0,rounding_size=0.1"
    axes.add_patch(
        FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle=style, facecolor="white", edgecolor=box.color, lw=1.6
        )
    )
    axes.text(box.x, box.y + 0.13, box.title, ha="center", fontsize=13, color=INK)
    axes.text(box.x, box.y - 0.24, box.text, ha="center", fontsize=10.5, color=FAINT)


def _draw_arrow(axes: Axes, start: Box, end: Box) -> None:
    """An arrow from the side of one box to the side of another that it meets first."""
    across, up = end.x - start.x, end.y - start.y
    if across:
        shift = (WIDTH / 2 if across > 0 else -WIDTH / 2, 0.0)
    else:
        shift = (0.0, HEIGHT / 2 if up > 0 else -HEIGHT / 2)
    way = {"arrowstyle": "-|>", "color": end.color, "lw": 1.8, "shrinkA": 1, "shrinkB": 1}
    tip, tail = (end.x - shift[0], end.y - shift[1]), (start.x + shift[0], start.y + shift[1])
    axes.annotate("", tip, tail, arrowprops=way)


def _draw_prices(axes: Axes) -> None:
    """The arrow of predicted times, from the table to the controller."""
    table, learn = boxes()["table"], boxes()["learn"]
    way = {
        "arrowstyle": "-|>",
        "color": SEARCH,
        "lw": 1.8,
        "connectionstyle": "angle,angleA=0,angleB=90,rad=8",
    }
    tip, tail = (learn.x, learn.y - HEIGHT / 2), (table.x + WIDTH / 2, table.y)
    axes.annotate("", tip, tail, arrowprops=way)
    axes.text(6.5, 0.72, "predicted times", ha="center", fontsize=10.5, color=FAINT)


if __name__ == "__main__":
    draw()
