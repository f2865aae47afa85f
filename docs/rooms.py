"""The rooms of the code and the arrows between them: ``python docs/rooms.py``.

Draws docs/rooms.png and writes the list under it into docs/architecture.md. A test checks that both
are of today's code. A room is a folder of one of the three packages; an arrow is an import, read
from the files.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[1]
PACKAGES = ("supernet", "search", "retrain")
PICTURE, PAGE = ROOT / "docs" / "rooms.png", ROOT / "docs" / "architecture.md"
MARK = "<!-- rooms: written by python docs/rooms.py -->"

Arrows = dict[str, set[str]]
"""What each module or room stands on."""


@cache
def modules() -> dict[str, Path]:
    """The files of the packages by the names under which they are imported."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).glob("**/*.py")))
    return {_name(path): path for path in files}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path) -> set[str]:
    """Names of the project's modules that a file imports anywhere, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            nested = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (nested & modules().keys()) or {node.module}
    return {name for name in found if name.split(".")[0] in PACKAGES} - {_name(path)}


@cache
def imports() -> Arrows:
    """The modules that each module imports."""
    return {name: _imported(path) for name, path in modules().items()}


def folder(name: str) -> str:
    """The folder of a module, such as ``search/controllers``."""
    return str(modules()[name].parent.relative_to(ROOT))


def rooms() -> Arrows:
    """The rooms that each room's modules import; the three packages themselves are no rooms."""
    arrows: Arrows = {}
    for name, imported in imports().items():
        if folder(name) not in PACKAGES:
            others = {folder(other) for other in imported} - {folder(name), *PACKAGES}
            arrows.setdefault(folder(name), set()).update(others)
    return arrows


def in_circles(arrows: Arrows) -> list[str]:
    """Nodes of circles, and those between two circles."""
    left = {node: set(below) for node, below in arrows.items()}
    while gone := {
        node
        for node, below in left.items()
        if not below & left.keys() or not any(node in others for others in left.values())
    }:
        left = {node: below - gone for node, below in left.items() if node not in gone}
    return sorted(left)


def _direct(arrows: Arrows) -> Arrows:
    """Arrows without those that a chain of others implies."""
    below = {node: _all_below(node, arrows) for node in arrows}
    return {
        node: {one for one in ones if not any(one in below[other] for other in ones)}
        for node, ones in arrows.items()
    }


def _all_below(node: str, arrows: Arrows) -> set[str]:
    found: set[str] = set()
    ahead = list(arrows[node])
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += arrows[one]
    return found


def _floors(arrows: Arrows) -> dict[str, int]:
    """The floor of each room: one above the highest on which it stands."""
    floors: dict[str, int] = {}
    while missing := [node for node in arrows if node not in floors]:
        for node in missing:
            if all(one in floors for one in arrows[node]):
                floors[node] = max((floors[one] + 1 for one in arrows[node]), default=0)
    return floors


def _docstring(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]


def _files(folder_name: str) -> list[str]:
    paths = sorted((ROOT / folder_name).glob("*.py"))
    return [path.stem for path in paths if path.stem != "__init__"]


def listing() -> str:
    """The packages and rooms as a Markdown table: what each holds, its files, what it stands on."""
    lines = ["| room | what it holds | files | stands on |", "|---|---|---|---|"]
    arrows = rooms() | {package: set() for package in PACKAGES}
    for room in sorted(arrows, key=lambda room: (PACKAGES.index(room.split("/")[0]), room)):
        text = " ".join(_docstring(ROOT / room / "__init__.py").split())
        below = ", ".join(sorted(_direct(rooms())[room])) if room in rooms() else ""
        files = ", ".join(f"`{name}`" for name in _files(room))
        lines.append(f"| `{room}` | {text} | {files} | {below} |")
    return "\n".join(lines)


def digest() -> str:
    """A short name of all that the picture shows."""
    shown = {room: (sorted(below), len(_files(room))) for room, below in rooms().items()}
    return hashlib.sha256(repr(sorted(shown.items())).encode()).hexdigest()[:16]


# --- the picture ---------------------------------------------------------------------------------

FRAMES = {"search": (0.02, 0.22), "supernet": (0.26, 0.8), "retrain": (0.84, 0.98)}
"""Left and right end of each package, as shares of the picture's width."""
COLORS = {"supernet": "#3C6AA6", "search": "#B4672A", "retrain": "#3F7F67"}
TOP, BOTTOM = 0.83, 0.03
BOX_HEIGHT = 0.05


@dataclass(frozen=True)
class _Box:
    """A room in the picture; shares of its width and height."""

    x: float
    y: float
    width: float


def _boxes(package: str) -> dict[str, _Box]:
    """The rooms of a package, each on the floor above those that it stands on."""
    own = {room: below for room, below in rooms().items() if room.startswith(package)}
    floors = _floors({room: below & own.keys() for room, below in own.items()})
    left, right = FRAMES[package]
    height, boxes = (TOP - 0.1 - BOTTOM) / (1 + max(floors.values(), default=0)), {}
    # From the roof down, so that a room stands about under those that stand on it.
    for floor in sorted(set(floors.values()), reverse=True):
        row = [room for room in floors if floors[room] == floor]
        above = {room: [boxes[one].x for one in boxes if room in own[one]] for room in row}
        row.sort(key=lambda room: fmean(above[room]) if above[room] else 0.5)
        step = (right - left) / len(row)
        for place, room in enumerate(row):
            x, y = left + (place + 0.5) * step, BOTTOM + (floor + 0.5) * height
            boxes[room] = _Box(x, y, min(0.15, step - 0.015))
    return boxes


def draw(path: Path = PICTURE) -> None:
    """Draw the picture, always of the same bytes for the same code."""
    figure = Figure(figsize=(15, 10.4), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0.02, 0.955, "The rooms of the code", fontsize=17, fontweight="bold", color="#22303C")
    axes.text(
        0.02,
        0.925,
        "An arrow is an import; those that a chain of others implies are left out."
        " search and retrain stand on supernet, never on each other.",
        color="#66737F",
        fontsize=10,
    )
    for package in PACKAGES:
        _draw_package(axes, package)
    for package, inner, outer in (("search", 1, 0), ("retrain", 0, 1)):
        ends = (FRAMES["supernet"][outer], 0.3), (FRAMES[package][inner], 0.3)
        axes.annotate(
            "", *ends, arrowprops={"arrowstyle": "-|>", "color": COLORS[package], "lw": 2}
        )
    start, end = (sum(FRAMES[name]) / 2 for name in ("search", "retrain"))
    way = {"arrowstyle": "-|>", "color": "#66737F", "connectionstyle": "bar,fraction=-0.028"}
    axes.annotate("", (end, TOP), (start, TOP), arrowprops=way)
    axes.text(0.53, TOP + 0.052, "arch.json", ha="center", fontsize=10, color="#66737F")
    figure.savefig(path, metadata={"Description": digest(), "Software": None})


def _draw_package(axes: Axes, package: str) -> None:
    left, right = FRAMES[package]
    color, boxes = COLORS[package], _boxes(package)
    style = {"boxstyle": "round,pad=0,rounding_size=0.008"}
    axes.add_patch(
        FancyBboxPatch(
            (left, BOTTOM),
            right - left,
            TOP - BOTTOM,
            **style,
            facecolor=color + "12",
            edgecolor=color + "66",
            zorder=0,
        )
    )
    axes.text(left + 0.01, TOP - 0.035, package, fontsize=14, fontweight="bold", color=color)
    own = textwrap.fill(", ".join(_files(package)), int(190 * (right - left)))
    axes.text(left + 0.01, TOP - 0.048, own, fontsize=8.5, color="#66737F", va="top")
    arrows = _direct(
        {room: below & boxes.keys() for room, below in rooms().items() if room in boxes}
    )
    for room, below in arrows.items():
        for other in sorted(below):  # where arrows cross, their order shows
            start, end = boxes[room], boxes[other]
            axes.annotate(
                "",
                (end.x, end.y + BOX_HEIGHT / 2),
                (start.x, start.y - BOX_HEIGHT / 2),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": color,
                    "alpha": 0.65,
                    "shrinkA": 0,
                    "shrinkB": 1,
                },
                zorder=0.5,
            )
    for room, box in boxes.items():
        corner = box.x - box.width / 2, box.y - BOX_HEIGHT / 2
        axes.add_patch(
            FancyBboxPatch(
                corner, box.width, BOX_HEIGHT, **style, facecolor="white", edgecolor=color, zorder=1
            )
        )
        name, number = room.partition("/")[2], len(_files(room))
        size = min(11, 1900 * box.width / len(name))  # so that it fits into the box
        axes.text(box.x, box.y + 0.006, name, ha="center", fontsize=size, color="#22303C")
        axes.text(box.x, box.y - 0.017, f"{number} files", ha="center", fontsize=8, color="#66737F")


def main() -> None:
    """Draw, and write the list into the page."""
    draw()
    text = PAGE.read_text()
    before, mark, after = text.partition(MARK)
    if not mark:
        sys.exit(f"error: {PAGE} has no line {MARK}")
    after = after.partition("\n\n")[2].partition("\n\n")[2]
    PAGE.write_text(f"{before}{MARK}\n\n{listing()}\n\n{after}")


if __name__ == "__main__":
    main()
