"""The compare command: networks side by side, part by part and in total. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from supernet.arch_file import ArchFile, is_file_name, read_arch
from supernet.command.output import print_json, print_table
from supernet.cost.counts import Cost, count
from supernet.display.rows import Row, dash, network_rows
from supernet.display.show import SCALE, asked_scale, network_object, refuse_scale
from supernet.errors import UserError
from supernet.space.published import published_spec
from supernet.space.spec import NetSpec

if TYPE_CHECKING:
    from supernet.latency.table.table import LatencyTable


_SAME = "."
_LEFT = ("part", "network", "op", "skip")


@dataclass(frozen=True)
class Compared:
    """One of the networks that are compared."""

    name: str
    """As the user spelled it."""
    spec: NetSpec
    found: ArchFile | None
    """What a search knew of it; None for a published network."""
    latency: float | None
    """Predicted ms of one image on the table's device; None without a table."""

    @property
    def layers(self) -> int:
        """Layers of all stages; stem, head and classifier are not among them."""
        return sum(stage.repeats for stage in self.spec.stages)

    @property
    def cost(self) -> Cost:
        """Parameters and multiply-accumulates."""
        return count(self.spec)


def compare(options: argparse.Namespace) -> None:
    """Print networks side by side, as tables or as JSON.

    Raises:
        UserError: for a network that is neither a file nor a name, for an unusable latency table,
            and for a network whose parts the table lacks.
    """
    table = _load_table(options.table) if options.table is not None else None
    networks, note = _read_networks(options, table)
    if options.json:
        print_json(_comparison_object(networks, options.table, table))
        return
    if len(networks) > 1:
        print_table(parts_table(networks))
        sys.stdout.write(f"{_SAME} is what the first network has\n\n")
    print_table(totals_table(networks))
    sys.stdout.write("layers: those of the stages, without stem, head and classifier\n" + note)
    if table:
        sys.stdout.write(_table_line(options.table, table))


def _read_networks(
    options: argparse.Namespace, table: LatencyTable | None
) -> tuple[list[Compared], str]:
    """The networks as the user listed them, and a line that says what the names have taken."""
    names = options.networks
    files = {name: read_arch(name) for name in names if is_file_name(name)}
    scale = asked_scale(options, *SCALE)
    if len(files) == len(set(names)):
        refuse_scale(scale, names[0])
    lent, lender = _lent_scale(files, options.table, table)
    taken = {key: value for key, value in lent.items() if key not in scale}
    networks = [_compared(name, files.get(name), {**taken, **scale}, table) for name in names]
    if not taken or len(files) == len(set(names)):
        return networks, ""
    keys = ", ".join(taken).replace("_", " ")
    return networks, f"published names: {keys} of {lender}\n"


def _load_table(path: str) -> LatencyTable:
    # Loaded on demand: only a latency needs it.
    from supernet.latency.table.table import LatencyTable

    return LatencyTable.read(path)


def _lent_scale(
    files: dict[str, ArchFile], path: str, table: LatencyTable | None
) -> tuple[dict[str, int], str]:
    """Resolution, classes and stem stride for the published names, and where they are from.

    A search treats the networks that its target names in the same way, and a table prices no
    others.
    """
    for name, found in files.items():
        return {key: getattr(found.spec, key) for key in SCALE}, name
    space = table.fingerprint.get("space") if table else None
    if not isinstance(space, dict):
        return {}, ""
    values = {key: space.get(key) for key in SCALE}
    return {key: n for key, n in values.items() if type(n) is int and n > 0}, path


def _compared(
    name: str, found: ArchFile | None, scale: dict[str, int], table: LatencyTable | None
) -> Compared:
    spec = found.spec if found else published_spec(name).scaled(**scale)
    try:
        return Compared(name, spec, found, table.predict(spec) if table else None)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def parts_table(networks: Sequence[Compared]) -> Table:
    """The parts, each with a line per network; a dot where a network is as the first one."""
    rows = [{row.part: row for row in network_rows(network.spec)} for network in networks]
    table = _new_table("part", "network", *_cells(rows[0]["stem"]))
    for part in max(rows, key=len):
        for number, (network, parts) in enumerate(zip(networks, rows, strict=True)):
            cells = _cells(parts.get(part))
            if number and part in parts and part in rows[0]:
                cells = _differing(cells, _cells(rows[0][part]))
            table.add_row("" if number else part, network.name, *cells.values())
    return table


def _differing(cells: dict[str, str], first: dict[str, str]) -> dict[str, str]:
    return {name: _SAME if cell == first[name] else cell for name, cell in cells.items()}


def _cells(row: Row | None) -> dict[str, str]:
    """What a line of the table says of a part; dashes where the network has no such part."""
    shape = row.output if row else None
    return {
        "op": dash(row and row.op),
        "kernel": dash(row and row.kernel),
        "expand": dash(row and row.expand),
        "SE": dash(row and row.se),
        "skip": dash(row and row.skip),
        "filters": dash(shape and shape[-1]),
        "repeats": dash(row and row.repeats),
        "stride": dash(row and row.stride),
        "output": f"{shape[0]}x{shape[1]}" if shape else "-",
    }


def totals_table(networks: Sequence[Compared]) -> Table:
    """A line per network: its scale and its costs, each with the ratio to the first network's."""
    first = networks[0]
    latency = ("predicted ms", "ratio") if first.latency is not None else ()
    table = _new_table(
        "network",
        "resolution",
        "classes",
        "stem stride",
        "layers",
        "params",
        "ratio",
        "MACs",
        "ratio",
        *latency,
    )
    for network in networks:
        spec, cost = network.spec, network.cost
        scale = (spec.resolution, spec.classes, spec.stem_stride, network.layers)
        cells = [*map(str, scale)]
        cells += [f"{cost.params:,}", _ratio(cost.params, first.cost.params)]
        cells += [f"{cost.macs:,}", _ratio(cost.macs, first.cost.macs)]
        if network.latency is not None and first.latency is not None:
            cells += [f"{network.latency:.4g}", _ratio(network.latency, first.latency)]
        table.add_row(network.name, *cells)
    return table


def _ratio(value: float, first: float) -> str:
    if not first:
        return "-"
    ratio = value / first
    return f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.2g}x"


def _new_table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="left" if header in _LEFT else "right", no_wrap=True)
    return table


def _table_line(path: str, table: LatencyTable) -> str:
    validation = table.validation
    return (
        f"latency: predicted for {table.device}, from {path}; mean error"
        f" {validation.predicted.mape:.1%} on {validation.networks} measured networks, whose own"
        f" noise is {validation.noise.floor:.1%}\n"
    )


def _comparison_object(
    networks: Sequence[Compared], path: str, table: LatencyTable | None
) -> dict[str, Any]:
    """The same as plain values, with all that ``show --json`` says of each network."""
    values = [
        {
            "name": network.name,
            "stem_stride": network.spec.stem_stride,
            "layers": network.layers,
            "predicted_ms": network.latency,
            **network_object(network.spec, network.found),
        }
        for network in networks
    ]
    used = {"file": path, "device": table.device, "hash": table.hash} if table else None
    return {"table": used, "networks": values}
