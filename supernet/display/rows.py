"""A network as rows, one for each part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import JustifyMethod
from rich.table import Table

from supernet.cost.counts import Cost, conv_bn, count, count_layer
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, Stage, output_size

Shape = tuple[int, int, int]
"""Height, width and channels, in the order of the papers' figures."""


@dataclass(frozen=True)
class Row:
    """One line of the table; None where a field means nothing for this part."""

    part: str
    op: str
    input: Shape
    output: Shape
    params: int
    macs: int
    repeats: int = 1
    kernel: int | None = None
    stride: int | None = None
    expand: int | None = None
    se: float | None = None
    skip: str | None = None
    """The shortcut that acts on at least one layer of the stage."""
    block: str | None = None
    """The stage in the official grammar."""


def network_rows(spec: NetSpec) -> list[Row]:
    """The parts of a network from stem to classifier; their costs add up to ``count(spec)``."""
    stages = zip(spec.stages, spec.stage_layers(), spec.block_strings(), strict=True)
    return [
        _stem_row(spec),
        *(_stage_row(f"stage {number}", *stage) for number, stage in enumerate(stages, 1)),
        _head_row(spec),
        _classifier_row(spec),
    ]


def _row(part: str, op: str, shapes: tuple[Shape, Shape], cost: Cost, **fields: Any) -> Row:
    return Row(part, op, *shapes, cost.params, cost.macs, **fields)


def _stem_row(spec: NetSpec) -> Row:
    size = output_size(spec.resolution, spec.stem_stride)
    shapes = (spec.resolution, spec.resolution, 3), (size, size, spec.stem)
    cost = conv_bn(3, spec.stem, 3, size)
    return _row("stem", "conv", shapes, cost, kernel=3, stride=spec.stem_stride)


def _stage_row(part: str, stage: Stage, layers: list[Layer], block: str) -> Row:
    first, last = layers[0], layers[-1]
    inputs = first.size, first.size, first.inputs
    outputs = last.output_size, last.output_size, last.outputs
    acting = {layer.skip for layer in layers} - {"none"}
    return _row(
        part,
        stage.op,
        (inputs, outputs),
        sum(map(count_layer, layers), Cost(0, 0)),
        repeats=stage.repeats,
        kernel=stage.kernel,
        stride=stage.stride,
        expand=stage.expand if stage.op == "mbconv" else None,
        se=stage.se,
        skip=next(iter(acting), "none"),
        block=block,
    )


def _head_row(spec: NetSpec) -> Row:
    size, inputs = spec.final_size, spec.stages[-1].filters
    shapes = (size, size, inputs), (size, size, spec.head)
    return _row("head", "conv", shapes, conv_bn(inputs, spec.head, 1, size), kernel=1, stride=1)


def _classifier_row(spec: NetSpec) -> Row:
    shapes = (spec.final_size, spec.final_size, spec.head), (1, 1, spec.classes)
    cost = Cost((spec.head + 1) * spec.classes, spec.head * spec.classes)
    return _row("classifier", "pool, linear", shapes, cost)


def network_table(spec: NetSpec) -> Table:
    """The rows and their totals as a rich table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    total = count(spec)
    footers = {"part": "total", "params": f"{total.params:,}", "MACs": f"{total.macs:,}"}
    for header in _COLUMNS:
        justify: JustifyMethod = "left" if header in ("part", "op", "skip", "block") else "right"
        table.add_column(header, footers.get(header, ""), justify=justify, no_wrap=True)
    for row in network_rows(spec):
        table.add_row(*(cell(row) for cell in _COLUMNS.values()))
    return table


def dash(value: object) -> str:
    """A cell; a dash where there is nothing."""
    return "-" if value in (None, 0.0, "none") else f"{value}"


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))


_COLUMNS: dict[str, Callable[[Row], str]] = {
    "part": lambda row: row.part,
    "op": lambda row: row.op,
    "kernel": lambda row: dash(row.kernel),
    "expand": lambda row: dash(row.expand),
    "SE": lambda row: dash(row.se),
    "skip": lambda row: dash(row.skip),
    "repeats": lambda row: f"{row.repeats}",
    "stride": lambda row: dash(row.stride),
    "input": lambda row: _times(row.input),
    "output": lambda row: _times(row.output),
    "params": lambda row: f"{row.params:,}",
    "MACs": lambda row: f"{row.macs:,}",
    "block": lambda row: dash(row.block),
}
