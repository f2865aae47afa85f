"""The drawing of a latency table: networks, their errors, and layers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from supernet.cost.counts import count_layer
from supernet.cost.timed_layers import StageLayer, timed_layers_of_space
from supernet.display.figures import ACCENT, FAINT, INK, MUTED, new_figure, style_axes
from supernet.latency.table.table import LatencyTable
from supernet.space.arch import MBCONVS

BLUES = ("#BCD3EC", "#8FB2DA", "#6389BE", "#5079B2", "#3C6AA6", "#2C5590", "#1D4179")
COLORS = {"conv": "#D08A2E", "sepconv": "#4E9B80", **dict(zip(MBCONVS, BLUES, strict=True))}
"""Colours of the ops' points: the more a bottleneck expands, the darker."""


def draw_table(table: LatencyTable) -> Figure:
    """Predicted against measured networks, their residuals, and layers against their MACs."""
    figure = new_figure(13.5, 4.6)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"wspace": 0.32})
    figure.subplots_adjust(left=0.06, right=0.985, top=0.8, bottom=0.15)
    title = f"Latency table of {table.device}"
    figure.text(0.06, 0.93, title, fontsize=14, fontweight="bold", color=INK, parse_math=False)
    groups = (("calibrated with", MUTED, "calibration"), ("held out", ACCENT, "held out"))
    for label, color, role in groups:
        networks = table.measured(role)
        measured = np.array([one.ms for one in networks])
        predicted = np.array([table.predict(one.spec) for one in networks])
        points = {"s": 14, "color": color, "alpha": 0.8, "linewidth": 0}
        left.scatter(measured, predicted, label=label, **points)
        middle.scatter(measured, predicted / measured - 1, **points)
    _finish_networks(left, middle, table)
    _draw_layers(right, table)
    return figure


def _finish_networks(left: Axes, middle: Axes, table: LatencyTable) -> None:
    low, high = left.get_xlim()
    left.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=0)
    left.set_xlim(low, high)
    style_axes(left, "Networks", "measured, ms", "predicted, ms")
    left.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="upper left")
    floor = table.validation.noise.floor
    middle.axhspan(-floor, floor, color=FAINT, zorder=0)
    style_axes(middle, "Errors; grey: the noise of measuring", "measured, ms", "")
    middle.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_layers(axes: Axes, table: LatencyTable) -> None:
    layers = [one for one in timed_layers_of_space(table.space) if isinstance(one, StageLayer)]
    for op, color in COLORS.items():
        points = [
            (count_layer(one.layer).macs, table.share_ms(one))
            for one in layers
            if one.key.startswith(op)
        ]
        if points:
            macs, ms = np.array(points).T
            axes.scatter(macs, ms, s=5, color=color, label=op, alpha=0.6, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    style_axes(axes, "Layers", "multiply-adds", "share of a network's latency, ms")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="upper left", markerscale=2)
