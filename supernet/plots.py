"""Draws a network in the manner of MnasNet's figure 7, and holds the style of every figure.

Figures are plain objects on the Agg canvas: nothing here touches pyplot's global state, so a
training process can draw at any time, without a display.
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyBboxPatch, Rectangle

from supernet.archfile import write_atomic
from supernet.cost import count
from supernet.errors import UserError
from supernet.show import Row, network_rows
from supernet.spec import NetSpec

INK, MUTED, FAINT = "#1F2933", "#66727F", "#E4E8EC"
"""Text, secondary text, and rules."""
ACCENT = "#C2410C"
"""What the reader should see first."""
OP_COLORS = {
    "Conv": "#E3AE68",
    "SepConv": "#8CC0AB",
    "MBConv3": "#A3C1E2",
    "MBConv6": "#4674AE",
}
_TIMES = "\N{MULTIPLICATION SIGN}"
_BAR_COLOR = "#9AA8B6"

# The page of draw_network, in inches from the top left.
_PAGE, _TOP, _BOTTOM = 8.2, 1.6, 0.55
_ROW, _GAP = 0.46, 0.4
_LEFT, _BOX = 0.85, 3.0
_CARD = (0.045, 0.03)
_BARS = {"macs": (4.85, "multiply-adds"), "params": (6.55, "parameters")}
_BAR = 0.85


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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    write_atomic(path, buffer.getvalue())


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


def short_count(value: float) -> str:
    """A count in three digits and a unit, such as 311.6 M."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:#.3g}".rstrip(".") + unit
    return f"{value:.0f}"


def draw_network(spec: NetSpec, title: str) -> Figure:
    """Draw a network from image to classifier: a box per stage, and where its cost lies.

    The column follows MnasNet, figure 7: op, kernel and SE in the box, shapes between boxes,
    repeats at the side. Beside it stand the multiply-adds and parameters of each part.
    """
    rows = network_rows(spec)
    height = _TOP + len(rows) * (_ROW + _GAP) + _BOTTOM
    figure = new_figure(_PAGE, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _PAGE), ylim=(height, 0))
    axes.axis("off")
    _draw_header(axes, spec, title)
    for index, row in enumerate(rows):
        y = _TOP + index * (_ROW + _GAP)
        _draw_arrow(axes, y - _GAP, row)
        _draw_box(axes, y, row)
        _draw_skip(axes, y, row)
        _draw_bars(axes, y, row, rows)
    _draw_legend(axes, height - 0.45, rows)
    return figure


def _draw_header(axes: Axes, spec: NetSpec, title: str) -> None:
    total = count(spec)
    facts = (
        f"{spec.resolution} px, {spec.classes} classes: {short_count(total.params)} parameters,"
        f" {short_count(total.macs)} multiply-adds"
    )
    axes.text(0.35, 0.42, title, fontsize=14, fontweight="bold", color=INK, va="center")
    axes.text(0.35, 0.74, facts, fontsize=9.5, color=MUTED, va="center")
    for x, heading in _BARS.values():
        axes.text(x, _TOP - 0.2, heading, fontsize=9, color=MUTED, va="center")


def _draw_arrow(axes: Axes, y: float, row: Row) -> None:
    """The way into a box, from ``y`` down, with the shape of what flows."""
    x = _LEFT + _BOX / 2
    length = _GAP - _CARD[1] * _cards_behind(row)
    axes.annotate(
        "", (x, y + length - 0.03), (x, y + 0.04),
        arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "mutation_scale": 8,
                    "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    text = f" {_TIMES} ".join(map(str, row.input))
    axes.text(x + 0.14, y + length / 2, text, fontsize=8, color=MUTED, va="center")


def _label(row: Row) -> str:
    if row.op == "mbconv":
        return f"MBConv{row.expand}"
    return {"conv": "Conv", "sepconv": "SepConv"}.get(row.op, "Pool, linear")


def _details(row: Row) -> str:
    if row.kernel is None:
        return f"{row.output[-1]} classes"
    parts = [f"{row.kernel}{_TIMES}{row.kernel}"]
    parts += [f"stride {row.stride}"] if row.stride != 1 else []
    parts += [f"SE {row.se:g}"] if row.se else []
    return "   ".join(parts)


def _color(row: Row) -> str:
    """Stem, head and classifier are not searched, so they stay grey."""
    if row.block is None:
        return FAINT
    if row.op == "mbconv" and row.expand:
        return OP_COLORS["MBConv6" if row.expand > 3 else "MBConv3"]
    return OP_COLORS[_label(row)]


def _cards_behind(row: Row) -> int:
    """More than five would cover the arrow; the number at the side tells the rest."""
    return min(row.repeats - 1, 5)


def _draw_box(axes: Axes, y: float, row: Row) -> None:
    """A card per repeat, the first on top, so that depth is seen before it is read."""
    for behind in range(_cards_behind(row), -1, -1):
        right, up = _CARD[0] * behind, _CARD[1] * behind
        card = FancyBboxPatch(
            (_LEFT + right, y - up), _BOX, _ROW, boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=_color(row), edgecolor="white", linewidth=1.1,
        )  # fmt: skip
        axes.add_patch(card)
    ink = "white" if _color(row) == OP_COLORS["MBConv6"] else INK
    middle = y + _ROW / 2
    axes.text(_LEFT + 0.16, middle, _label(row), fontsize=10.5, fontweight="bold", color=ink,
              va="center")  # fmt: skip
    axes.text(_LEFT + _BOX - 0.16, middle, _details(row), fontsize=9, color=ink, va="center",
              ha="right")  # fmt: skip
    if row.repeats > 1:
        axes.text(_LEFT - 0.14, middle, f"{_TIMES}{row.repeats}", fontsize=11, fontweight="bold",
                  color=INK, va="center", ha="right")  # fmt: skip


def _draw_skip(axes: Axes, y: float, row: Row) -> None:
    """An arc around the layer: solid for identity, dashed for pool."""
    if row.skip in (None, "none"):
        return
    x = _LEFT + _BOX + _CARD[0] * _cards_behind(row) + 0.04
    axes.add_patch(_skip_arc(x, y + _ROW / 2, row.skip, _ROW * 0.8))


def _skip_arc(x: float, y: float, skip: str | None, height: float) -> Arc:
    style = (0, (2.2, 1.4)) if skip == "pool" else "-"
    return Arc((x, y), 0.8 * height, height, theta1=-90, theta2=90, color=MUTED, lw=1.5,
               linestyle=style)  # fmt: skip


def _draw_bars(axes: Axes, y: float, row: Row, rows: list[Row]) -> None:
    for name, (x, _) in _BARS.items():
        value, most = getattr(row, name), max(getattr(other, name) for other in rows)
        width = _BAR * value / most
        axes.add_patch(Rectangle((x, y + _ROW / 2 - 0.08), width, 0.16, color=_BAR_COLOR, lw=0))
        axes.text(x + width + 0.07, y + _ROW / 2, short_count(value), fontsize=8.5, color=INK,
                  va="center")  # fmt: skip


def _draw_legend(axes: Axes, y: float, rows: list[Row]) -> None:
    """The ops and shortcuts that the network uses, and no others."""
    x = _LEFT
    colors = {_label(row): _color(row) for row in rows if row.block}
    for label, color in sorted(colors.items()):
        axes.add_patch(Rectangle((x, y - 0.08), 0.16, 0.16, color=color, lw=0))
        axes.text(x + 0.23, y, label, fontsize=8.5, color=MUTED, va="center")
        x += 0.95
    for skip in sorted({row.skip for row in rows if row.skip not in (None, "none")}, key=str):
        axes.add_patch(_skip_arc(x, y, skip, 0.2))
        axes.text(x + 0.17, y, f"{skip} shortcut", fontsize=8.5, color=MUTED, va="center")
        x += 1.35
