"""What a table says of itself, printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from supernet.latency.table import LatencyTable
from supernet.latency.validation import Figures, Validation
from supernet.show import print_table


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
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "mean error", "within 5 %", "within 10 %", "Kendall's tau", "bias"):
        grid.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    grid.add_row(f"this table ({table.correction.form})", *_cells(validation.predicted))
    for name, figures in validation.baselines.items():
        grid.add_row(name, *_cells(figures))
    noise = validation.noise
    if validation.sessions > 1:
        grid.add_row(
            "noise alone", f"{noise.floor:.1%}", f"{noise.within_5:.0%}", f"{noise.within_10:.0%}",
            f"{noise.kendall_tau:.3f}", "",
        )  # fmt: skip
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


def _cells(figures: Figures) -> Sequence[str]:
    return (
        f"{figures.mape:.1%}", f"{figures.within_5:.0%}", f"{figures.within_10:.0%}",
        f"{figures.kendall_tau:.3f}", f"{figures.bias:+.1%}",
    )  # fmt: skip
