"""Figure style of the house."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from supernet.errors import UserError
from supernet.files.writing import write_atomic

INK, MUTED, FAINT = "#1F2933", "#66727F", "#E4E8EC"
"""Text, secondary text, and rules."""
ACCENT = "#C2410C"
"""What the reader should see first."""
_UNITS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


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
    if value < 999.5:
        return f"{value:.0f}"
    # Rounded first, so that 999,999 is 1.00 M and not 1000 k.
    value = float(f"{value:.3g}")
    factor, unit = next(pair for pair in _UNITS if value >= pair[0])
    return f"{value / factor:#.3g}".rstrip(".") + unit
