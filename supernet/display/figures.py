"""Figures: the style of all of them, and a network drawn in the manner of MnasNet's figure 7.

Figures are plain objects on the Agg canvas: nothing here touches pyplot's global state, so a
training process can draw at any time, without a display.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyBboxPatch, Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.textpath import TextPath

from supernet.cost.counts import count
from supernet.display.rows import NetworkRow, network_rows
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.space.spec import NetSpec

INK, MUTED, FAINT = "#1F2933", "#66727F", "#E4E8EC"
"""Text, secondary text, and rules."""
ACCENT = "#C2410C"
"""What the reader should see first."""
COSTS = {
    "ms": (1.0, "predicted latency", "ms"),
    "macs": (1e6, "multiply-adds", "M"),
    "params": (1e6, "parameters", "M"),
}
"""Units on axes: how many of each are one on an axis, what it is, and the axis's unit."""
_UNITS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))

_OP_COLORS = {"conv": "#E3AE68", "sepconv": "#8CC0AB"}
_EXPAND_3, _EXPAND_6 = np.array(to_rgb("#A3C1E2")), np.array(to_rgb("#4674AE"))
"""The more an mbconv expands, the darker it is."""
_TIMES = "\N{MULTIPLICATION SIGN}"
_BAR_COLOR = "#9AA8B6"
_NO_SKIP = (None, "none")

# The page of draw_network, in inches from the top left.
_PAGE, _MARGIN, _TOP, _BOTTOM = 8.2, 0.35, 1.6, 0.4
_ROW, _GAP = 0.46, 0.4
_LEFT, _BOX = 1.12, 3.1
_KERNEL, _STRIDE, _SE = 1.28, 1.72, 2.98
_CARD = (0.045, 0.03)
_BARS = {"macs": (4.95, "multiply-adds"), "params": (6.6, "parameters")}
_BAR = 0.85
_KEY, _LINE = 0.24, 0.27
"""Width of the mark of an entry of the legend; height of a line."""


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of ``width`` x ``height`` inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG as a whole or not at all.

    Raises:
        UserError: when the name does not end in .png or the file cannot be written.
    """
    if path.suffix != ".png":
        raise UserError(f"cannot draw into {path}: the name must end in .png")
    write_atomic(path, png_of(figure))


def png_of(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def style_axes(axes: Axes, title: str, x_label: str, y_label: str, title_pad: float = 10) -> None:
    """Give axes the style of the house: title at the left, faint rules, no frame."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=title_pad)
    axes.set_xlabel(x_label, fontsize=9.5, color=MUTED, labelpad=6)
    axes.set_ylabel(y_label, fontsize=9.5, color=MUTED, labelpad=6)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=5)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#B8C1CA")


def legend_above(
    axes: Axes, num_columns: int, at: tuple[float, float] = (-0.015, 1.0), **style: Any
) -> None:
    """A legend between axes and title; ``at`` its lower left corner, as shares of the axes."""
    style = {"frameon": False, "fontsize": 9, "labelcolor": INK, **style}
    axes.legend(loc="lower left", bbox_to_anchor=at, ncols=num_columns, **style)


def percent(value: float, _: float | None = None) -> str:
    """Labels an axis of shares."""
    return f"{100 * value:.3g}%"


def write_beside(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    coordinates: str | tuple[str, str],
    **style: Any,
) -> Annotation:
    """Write ``offset`` points beside a place, whose x and y have the coordinates named."""
    style = {"fontsize": 8.5, "color": ACCENT, **style}
    return axes.annotate(
        text, at, offset, xycoords=coordinates, textcoords="offset points", **style
    )


def note_above(axes: Axes, text: str, points: float = 10) -> None:
    """A remark at the right end of the title's line, so many points above the axes."""
    write_beside(axes, text, (1, 1), (0, points), "axes fraction", ha="right", color=MUTED)


def short_count(value: float) -> str:
    """A count in three digits and a unit, such as 312 M."""
    if value < 999.5:
        return f"{value:.0f}"
    # Rounded first, so that 999,999 is 1.00 M and not 1000 k.
    value = float(f"{value:.3g}")
    factor, unit = next(pair for pair in _UNITS if value >= pair[0])
    return f"{value / factor:#.3g}".rstrip(".") + unit


def draw_network(spec: NetSpec, title: str) -> Figure:
    """Draw a network from image to classifier: a box per stage, and where its cost lies.

    The column follows MnasNet, figure 7: op, expansion, kernel and SE in the box, shapes between
    boxes, repeats at the side. Beside it stand the multiply-adds and parameters of each part.
    """
    rows = network_rows(spec)
    legend, notes = _legend(rows), _notes(rows)
    boxes_end = _TOP + len(rows) * (_ROW + _GAP)
    height = boxes_end + (legend[-1].line + 1 + len(notes)) * _LINE + _BOTTOM
    figure = new_figure(_PAGE, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _PAGE), ylim=(height, 0))
    axes.axis("off")
    _draw_title(axes, title, figure.dpi)
    _draw_header(axes, spec)
    for index, row in enumerate(rows):
        y = _TOP + index * (_ROW + _GAP)
        _draw_arrow(axes, y - _GAP, row)
        _draw_box(axes, y, row)
        _draw_sides(axes, y + _ROW / 2, row)
        _draw_bars(axes, y, row, rows)
    _draw_legend(axes, boxes_end, legend)
    for line, note in enumerate(notes, legend[-1].line + 1):
        _write(axes, _LEFT, boxes_end + line * _LINE, note, 8.5)
    return figure


def _write(
    axes: Axes, x: float, y: float, text: str, size: float, color: str = MUTED, **style: Any
) -> Text:
    """Words at ``x``, centred at the height ``y``, in ``size`` points."""
    return axes.text(x, y, text, fontsize=size, color=color, va="center", **style)


def _draw_header(axes: Axes, spec: NetSpec) -> None:
    total = count(spec)
    facts = (
        f"{spec.resolution} px, {spec.classes} classes: {short_count(total.params)} parameters,"
        f" {short_count(total.macs)} multiply-adds"
    )
    _write(axes, _MARGIN, 0.74, facts, 9.5)
    for x, heading in ((_MARGIN, "stage"), *_BARS.values()):
        _write(axes, x, _TOP - 0.2, heading, 9)


def _draw_title(axes: Axes, title: str, inch: float) -> None:
    """A title that is too long, such as a path, loses its beginning; ``inch`` is in pixels."""
    text = _write(axes, _MARGIN, 0.42, title, 14, INK, fontweight="bold", parse_math=False)
    while title and text.get_window_extent().width > (_PAGE - 2 * _MARGIN) * inch:
        title = title[1:]
        text.set_text("\N{HORIZONTAL ELLIPSIS}" + title)


def _draw_arrow(axes: Axes, y: float, row: NetworkRow) -> None:
    """The way into a box, from ``y`` down, with the shape of what flows."""
    x = _LEFT + _BOX / 2
    length = _GAP - _CARD[1] * _cards_behind(row)
    style = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "mutation_scale": 8}
    style |= {"shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x, y + length - 0.03), (x, y + 0.04), arrowprops=style)
    text = f" {_TIMES} ".join(map(str, row.input))
    text = f"image {text}" if row.part == "stem" else text
    _write(axes, x + 0.14, y + length / 2, text, 8)


def _label(row: NetworkRow) -> str:
    if row.op == "mbconv":
        return f"MBConv{row.expand}"
    return {"conv": "Conv", "sepconv": "SepConv"}.get(row.op, "Pool, linear")


def _color(row: NetworkRow) -> str:
    """Stem, head and classifier are not searched, so they stay grey."""
    if row.block is None:
        return FAINT
    if row.expand is None:
        return _OP_COLORS[row.op]
    share = min((row.expand - 3) / 3, 1.5)
    return to_hex(_EXPAND_3 + share * (_EXPAND_6 - _EXPAND_3))


def _cards_behind(row: NetworkRow) -> int:
    """More than five would cover the arrow; the number at the side tells the rest."""
    return min(row.repeats - 1, 5)


def _draw_box(axes: Axes, y: float, row: NetworkRow) -> None:
    """A card per repeat, the first on top, so that depth is seen before it is read."""
    for behind in range(_cards_behind(row), -1, -1):
        right, up = _CARD[0] * behind, _CARD[1] * behind
        card = FancyBboxPatch(
            (_LEFT + right, y - up),
            _BOX,
            _ROW,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=_color(row),
            edgecolor="white",
            linewidth=1.1,
        )
        axes.add_patch(card)
    _draw_words(axes, y + _ROW / 2, row)


def _draw_words(axes: Axes, y: float, row: NetworkRow) -> None:
    """Op and expansion, kernel, stride and SE, each in its column."""
    ink = "white" if (row.expand or 0) > 4 else INK
    _write(axes, _LEFT + 0.16, y, _label(row), 10.5, ink, fontweight="bold")
    if row.kernel is None:
        _write(axes, _LEFT + _STRIDE, y, f"{row.output[-1]} classes", 9, ink)
        return
    words = {_KERNEL: f"{row.kernel}{_TIMES}{row.kernel}"}
    words |= {_STRIDE: f"stride {row.stride}"} if row.stride != 1 else {}
    for x, word in words.items():
        _write(axes, _LEFT + x, y, word, 9, ink)
    if row.se:
        badge = {"boxstyle": "round,pad=0.3", "facecolor": "white", "linewidth": 0}
        _write(axes, _LEFT + _SE, y, f"SE {row.se:.3g}", 9, INK, ha="right", bbox=badge)


def _draw_sides(axes: Axes, y: float, row: NetworkRow) -> None:
    """Number and repeats at the left; at the right an arc, solid for identity, dashed for pool."""
    name = row.part.removeprefix("stage ") if row.part != "classifier" else ""
    _write(axes, _MARGIN, y, name, 9)
    if row.repeats > 1:
        depth = f"{_TIMES}{row.repeats}"
        _write(axes, _LEFT - 0.14, y, depth, 11, INK, fontweight="bold", ha="right")
    if row.skip not in _NO_SKIP:
        x = _LEFT + _BOX + _CARD[0] * _cards_behind(row) + 0.04
        axes.add_patch(_skip_arc(x, y, row.skip, _ROW * 0.8))


def _skip_arc(x: float, y: float, skip: str | None, height: float) -> Arc:
    style = (0, (2.2, 1.4)) if skip == "pool" else "-"
    return Arc(
        (x, y), 0.8 * height, height, theta1=-90, theta2=90, color=MUTED, lw=1.5, linestyle=style
    )


def _draw_bars(axes: Axes, y: float, row: NetworkRow, rows: list[NetworkRow]) -> None:
    for name, (x, _) in _BARS.items():
        value, most = getattr(row, name), max(getattr(other, name) for other in rows)
        width = _BAR * value / most
        axes.add_patch(Rectangle((x, y + _ROW / 2 - 0.08), width, 0.16, color=_BAR_COLOR, lw=0))
        _write(axes, x + width + 0.07, y + _ROW / 2, short_count(value), 8.5, INK)


@dataclass(frozen=True)
class _Entry:
    """One entry of the legend: a colour or a shortcut, in its line and at its place."""

    text: str
    color: str | None
    skip: str | None
    x: float
    line: int


def _legend(rows: list[NetworkRow]) -> list[_Entry]:
    """The ops and shortcuts that the network uses, and no others, in as many lines as it takes."""
    blocks = sorted((row for row in rows if row.block), key=lambda row: (row.op, row.expand or 0))
    ops = dict.fromkeys((_label(row), _color(row), None) for row in blocks)
    skips = {(f"{row.skip} shortcut", None, row.skip) for row in rows if row.skip not in _NO_SKIP}
    entries: list[_Entry] = []
    x, line = _LEFT, 0
    for text, color, skip in (*ops, *sorted(skips)):
        width = _KEY + TextPath((0, 0), text, size=8.5).get_extents().width / 72
        if x + width > _PAGE - _MARGIN:
            x, line = _LEFT, line + 1
        entries.append(_Entry(text, color, skip, x, line))
        x += width + 0.26
    return entries


def _notes(rows: list[NetworkRow]) -> list[str]:
    notes = []
    if any(row.repeats > 1 for row in rows):
        notes.append(f"{_TIMES}N: N layers, of which only the first strides or changes the width")
    if any(row.skip == "identity" for row in rows):
        notes.append("an identity shortcut acts on the layers whose input and output are alike")
    return notes


def _draw_legend(axes: Axes, top: float, legend: list[_Entry]) -> None:
    for entry in legend:
        y = top + entry.line * _LINE
        if entry.color:
            axes.add_patch(Rectangle((entry.x, y - 0.08), 0.16, 0.16, color=entry.color, lw=0))
        else:
            axes.add_patch(_skip_arc(entry.x + 0.04, y, entry.skip, 0.2))
        _write(axes, entry.x + _KEY, y, entry.text, 8.5)
