"""Rows of tables: the parts of a network, and values with their intervals. No torch."""

import math
from dataclasses import dataclass
from typing import Any

from supernet.cost.counts import Cost, conv_bn, count_layer
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, Stage, output_size

Shape = tuple[int, int, int]
"""Height, width and channels, in the order of the papers' figures."""


@dataclass(frozen=True)
class NetworkRow:
    """A part of a network; None where a field means nothing for it."""

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


def network_rows(spec: NetSpec) -> list[NetworkRow]:
    """The parts of a network from stem to classifier; their costs add up to ``count(spec)``."""
    side, size, last = spec.resolution, spec.final_size, spec.stages[-1].filters
    stem_side = output_size(side, spec.stem_stride)
    stem, head = conv_bn(3, spec.stem, 3, stem_side), conv_bn(last, spec.head, 1, size)
    linear = Cost((spec.head + 1) * spec.classes, spec.head * spec.classes)
    stem_map, head_map = (stem_side, stem_side, spec.stem), (size, size, spec.head)
    stages = zip(spec.stages, spec.stage_layers(), spec.block_strings(), strict=True)
    return [
        _row("stem", "conv", (side, side, 3), stem_map, stem, kernel=3, stride=spec.stem_stride),
        *(_stage_row(f"stage {number}", *stage) for number, stage in enumerate(stages, 1)),
        _row("head", "conv", (size, size, last), head_map, head, kernel=1, stride=1),
        _row("classifier", "pool, linear", head_map, (1, 1, spec.classes), linear),
    ]


def _row(
    part: str, op: str, inputs: Shape, outputs: Shape, cost: Cost, **fields: Any
) -> NetworkRow:
    return NetworkRow(part, op, inputs, outputs, cost.params, cost.macs, **fields)


def _stage_row(part: str, stage: Stage, layers: list[Layer], block: str) -> NetworkRow:
    first, last = layers[0], layers[-1]
    acting = {layer.skip for layer in layers} - {"none"}
    return _row(
        part,
        stage.op,
        (first.size, first.size, first.inputs),
        (last.output_size, last.output_size, last.outputs),
        sum(map(count_layer, layers), Cost(0, 0)),
        repeats=stage.repeats,
        kernel=stage.kernel,
        stride=stage.stride,
        expand=stage.expand if stage.op == "mbconv" else None,
        se=stage.se,
        skip=next(iter(acting), "none"),
        block=block,
    )


def with_interval(value: float, low: float, high: float) -> str:
    """A value with its interval, if it has any, as in ``.62 [.48 .74]``; a dash for NaN."""
    if math.isnan(value):
        return "-"
    alone = low == high == value or math.isnan(low)
    return _number(value) if alone else f"{_number(value)} [{_number(low)} {_number(high)}]"


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
