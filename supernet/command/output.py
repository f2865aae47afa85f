"""What commands print: lines, tables, JSON, and the progress of long parts. No torch."""

import json
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

LINE_EVERY_S = 20.0
"""Seconds between progress lines where the output is no terminal."""


class ProgressLines(Progress):
    """Progress of a long part: its name, how far it is, the time left, and what it measures.

    A bar on a terminal; a log file gets a line every ``LINE_EVERY_S`` seconds and a last one. It is
    ``shown`` on the first rank alone.
    """

    def __init__(self, shown: bool = True) -> None:
        super().__init__(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            refresh_per_second=2,
        )
        self.disable = not (shown and self.console.is_terminal)
        self._in_lines = shown and not self.console.is_terminal
        self._line_at = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task."""
        super().update(task_id, **changes)
        if self._in_lines and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._print_lines()

    def stop(self) -> None:
        """End with how far it came, once."""
        super().stop()
        if self._in_lines:
            self._print_lines()
        self._in_lines = False

    def _print_lines(self) -> None:
        self._line_at = time.monotonic()
        for task in self.tasks:
            parts = [f"{task.description} {task.completed:.0f}/{task.total or 0:.0f}"]
            if task.time_remaining:
                parts.append(f"{task.time_remaining:.0f} s left")
            parts.append(task.fields["status"])
            line = "  ".join(part for part in parts if part)
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    """Print a line at once, on the first process; Lightning's own are kept from the user."""
    # Loaded on demand: commands without a training load no torch.
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    rank_zero_only(print)(line, flush=True)


def print_json(values: dict[str, Any]) -> None:
    """Print an object for programs."""
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def new_table(*headers: str, left: Collection[str], footers: Mapping[str, str] = {}) -> Table:
    """A table of numbers; columns of words, those in ``left``, stand at the left.

    ``footers`` are the totals under some columns, by header.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=bool(footers))
    for header in headers:
        justify: JustifyMethod = "left" if header in left else "right"
        table.add_column(header, footers.get(header, ""), justify=justify, no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """Print every column whole: a narrow terminal wraps lines, a pipe gets columns and no rules."""
    if not sys.stdout.isatty():
        table.box = None
    console = Console(highlight=False, markup=False)
    natural = console.measure(table, options=console.options.update(width=1000)).maximum
    console.width = max(console.width, natural)
    console.print(table)
