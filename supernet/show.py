"""The rows of a network, from stem to classifier, and the show command that prints them. No torch.

The table is for people; ``--json`` prints the same numbers for programs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from supernet.archfile import ArchFile, is_file_name, read_arch
from supernet.cost import Cost, conv_bn, count, count_layer
from supernet.errors import UserError
from supernet.published import published, published_spec
from supernet.spec import NetSpec
from supernet.stage import Layer, Stage, output_size

Shape = tuple[int, int, int]
"""Height, width and channels, in the order of the papers' figures."""

SCALE = ("resolution", "classes", "stem_stride")
"""What a data set decides of a published network."""
_FOUND = ("predicted", "target", "unit", "accuracy", "reward", "device", "table", "seed", "step")


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


def network_object(spec: NetSpec, found: ArchFile | None) -> dict[str, Any]:
    """The table as plain values; ``found`` adds what a search knew of the network."""
    total = count(spec)
    values: dict[str, Any] = {
        "resolution": spec.resolution,
        "classes": spec.classes,
        "params": total.params,
        "macs": total.macs,
        "block_strings": spec.block_strings(),
        "timm_block_strings": _timm_block_strings(spec),
        "parts": [dataclasses.asdict(row) for row in network_rows(spec)],
        "spec": dataclasses.asdict(spec),
    }
    if found:
        values["found"] = {name: getattr(found, name) for name in _FOUND}
        values["found"]["measured"] = found.measured and dataclasses.asdict(found.measured)
    return values


def _timm_block_strings(spec: NetSpec) -> list[str] | None:
    """The stages in timm's grammar; None where timm lacks a block."""
    try:
        return spec.block_strings("timm")
    except UserError:
        return None


def show(options: argparse.Namespace) -> None:
    """Print one network as a table or as JSON, and draw it when asked to.

    Raises:
        UserError: for a network that is neither a file nor a name, and an unusable picture.
    """
    spec, found = _load(options)
    if options.plot:
        _plot(spec, options.network, options.plot)
    if options.json:
        print_json(network_object(spec, found))
        return
    print_table(network_table(spec))
    sys.stdout.write(f"{options.network}: {spec.resolution} px, {spec.classes} classes\n")
    if found:
        sys.stdout.write(_found_line(found))


def print_json(values: dict[str, Any]) -> None:
    """Print an object for programs."""
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def print_table(table: Table) -> None:
    """Print every column whole: a narrow terminal wraps lines, a pipe gets columns and no rules."""
    if not sys.stdout.isatty():
        table.box = None
    console = Console(highlight=False, markup=False)
    natural = console.measure(table, options=console.options.update(width=1000)).maximum
    console.width = max(console.width, natural)
    console.print(table)


def _found_line(found: ArchFile) -> str:
    device = f" on {found.device}" if found.device else ""
    measured = found.measured
    return (
        f"supernet accuracy {found.accuracy:.4f}, predicted {found.predicted:,g} {found.unit}"
        f" of at most {found.target:,g} {found.unit}{device}"
        + (f"; measured {measured.ms:,g} ms, {measured.comparison}\n" if measured else "\n")
    )


def asked_scale(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The arguments of ``NetSpec.scaled`` that the command line gives."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def refuse_scale(scale: dict[str, Any], name: str) -> None:
    """Refuse to scale what a search has found at one scale.

    Raises:
        UserError: naming the option, when ``scale`` holds any.
    """
    if scale:
        option = next(iter(scale)).replace("_", "-")
        raise UserError(
            f"--{option} is for published names ({', '.join(published)}): {name} holds its own"
        )


def _load(options: argparse.Namespace) -> tuple[NetSpec, ArchFile | None]:
    scale = asked_scale(options, "width", *SCALE)
    if not is_file_name(options.network):
        return published_spec(options.network).scaled(**scale), None
    refuse_scale(scale, options.network)
    found = read_arch(options.network)
    return found.spec, found


def _plot(spec: NetSpec, title: str, path: Path) -> None:
    # Loaded on demand: matplotlib takes longer than everything else in this command.
    from supernet.plots import draw_network, save_figure

    save_figure(draw_network(spec, title), path)
