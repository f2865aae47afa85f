"""What a table says of itself, printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from supernet.command.output import new_table, print_table
from supernet.cost.counts import count_layer
from supernet.cost.timed_layers import StageLayer, timed_layers_of_space
from supernet.figure_style import ACCENT, INK, MUTED, new_figure, style_axes
from supernet.latency.table.table import LatencyTable, MeasuredNetwork
from supernet.latency.table.validation import Accuracy, Validation

COLORS = {"conv": "#D08A2E", "sepconv": "#4E9B80", "mbconv3": "#8FB2DA", "mbconv6": "#3C6AA6"}
"""Of the ops' points."""


def draw_table(table: LatencyTable) -> Figure:
    """Predicted against measured networks, their residuals, and layers against their MACs."""
    figure = new_figure(13.5, 4.6)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"wspace": 0.32})
    figure.subplots_adjust(left=0.06, right=0.985, top=0.8, bottom=0.15)
    figure.text(
        0.06,
        0.93,
        f"Latency table of {table.device}",
        fontsize=14,
        fontweight="bold",
        color=INK,
        parse_math=False,
    )
    groups = (
        ("calibrated with", MUTED, table.measured("calibration")),
        ("held out", ACCENT, table.measured("held out")),
    )
    for label, color, networks in groups:
        measured, predicted = _times(table, networks)
        left.scatter(measured, predicted, s=14, color=color, label=label, alpha=0.8, linewidth=0)
        middle.scatter(
            measured, predicted / measured - 1, s=14, color=color, alpha=0.8, linewidth=0
        )
    _finish_networks(left, middle, table)
    _draw_layers(right, table)
    return figure


def _times(table: LatencyTable, networks: list[MeasuredNetwork]) -> tuple[np.ndarray, np.ndarray]:
    measured = np.array([one.ms for one in networks])
    return measured, np.array([table.predict(one.spec) for one in networks])


def _finish_networks(left: Axes, middle: Axes, table: LatencyTable) -> None:
    low, high = left.get_xlim()
    left.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=0)
    left.set_xlim(low, high)
    style_axes(left, "Networks", "measured, ms", "predicted, ms")
    left.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="upper left")
    floor = table.validation.noise.floor
    middle.axhspan(-floor, floor, color="#E4E8EC", zorder=0)
    style_axes(middle, "Errors; grey: the noise of measuring", "measured, ms", "")
    middle.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_layers(axes: Axes, table: LatencyTable) -> None:
    space = table.space
    bodies = [part for part in timed_layers_of_space(space) if isinstance(part, StageLayer)]
    for op, color in COLORS.items():
        points = [
            (count_layer(part.layer).macs, table.part_ms(part))
            for part in bodies
            if part.key.startswith(op)
        ]
        if points:
            macs, ms = np.array(points).T
            axes.scatter(macs, ms, s=5, color=color, label=op, alpha=0.6, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    style_axes(axes, "Layers", "multiply-adds", "share of a network's latency, ms")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="upper left", markerscale=2)


def print_table_file(table: LatencyTable, path: Path) -> None:
    """What was measured on what."""
    found = table.fingerprint
    space, effort = found.get("space", {}), found.get("effort", {})
    lines = {
        "table": f"{path}, {table.hash[:12]}",
        "device": table.device,
        "backend": f"{found['backend']}, {found['clock']} clock",
        "network": f"{space.get('resolution')} px, {space.get('classes')} classes, batch 1",
        "measured": f"{found.get('date', '')}, {len(table.entries)} parts in"
        f" {effort.get('part_sessions')} sessions, {len(table.networks)} networks in"
        f" {effort.get('network_sessions')}",
        "command": found.get("command", ""),
        "correction": f"{table.correction.form}, {len(table.correction.weights)} weights",
    }
    for name, value in lines.items():
        sys.stdout.write(f"{name:<12}{value}\n")
    errors = ", ".join(f"{name} {error:.1%}" for name, error in table.correction.errors.items())
    sys.stdout.write(f"{'':<12}mean error in cross-validation: {errors}\n\n")


def print_report(table: LatencyTable, validation: Validation) -> None:
    """Predictions against networks that calibrated nothing, beside the noise of these."""
    headers = ("model", "mean error", "within 5 %", "within 10 %", "Kendall's tau", "bias")
    grid = new_table(*headers, left=("model",))
    grid.add_row(f"this table ({table.correction.form})", *_cells(validation.predicted))
    for name, accuracy in validation.baselines.items():
        grid.add_row(name, *_cells(accuracy))
    noise = validation.noise
    if validation.sessions > 1:
        grid.add_row(
            "noise alone",
            f"{noise.floor:.1%}",
            f"{noise.within_5:.0%}",
            f"{noise.within_10:.0%}",
            f"{noise.kendall_tau:.3f}",
            "",
        )
    print_table(grid)
    sys.stdout.write(
        f"{validation.networks} networks, {validation.sessions} sessions, of which at least"
        f" {validation.least_sessions} count for each: {validation.verdict}\n"
    )
    if noise.floor and noise.kendall_tau > 0:
        sys.stdout.write(
            f"mean error over noise floor {validation.predicted.mape / noise.floor:.1f}, tau over"
            f" that of two measurements {validation.predicted.kendall_tau / noise.kendall_tau:.2f};"
            f" two networks whose predictions differ by less than {noise.floor:.1%} are not told"
            " apart\n"
        )


def print_drift(drift: float, validation: Validation) -> None:
    """How much the machine has changed since the table was built."""
    bias = (1 + validation.predicted.bias) / (1 + drift) - 1
    sys.stdout.write(
        f"networks that calibrated the table take {drift:+.1%} longer than when it was built: times"
        f" are scaled by that; unscaled, the bias is {bias:+.1%}\n"
    )


def _cells(accuracy: Accuracy) -> Sequence[str]:
    return (
        f"{accuracy.mape:.1%}",
        f"{accuracy.within_5:.0%}",
        f"{accuracy.within_10:.0%}",
        f"{accuracy.kendall_tau:.3f}",
        f"{accuracy.bias:+.1%}",
    )
