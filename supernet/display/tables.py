"""Networks and spaces as tables for a person."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from supernet.arch_file import ArchFile
from supernet.command.output import new_table
from supernet.cost.counts import count
from supernet.display.rows import NetworkRow, network_rows
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.space.spec import NetSpec

SAME = "."
"""Cell that is as in the first network."""
NetworkColumns = dict[str, Callable[[NetworkRow], str]]


@dataclass(frozen=True)
class ShownNetwork:
    """A network that a command shows."""

    name: str
    """Name as the user spelled it."""
    spec: NetSpec
    found: ArchFile | None = None
    """File of a search, with what it knew of the network; None for a published one."""
    predicted_ms: float | None = None
    """Predicted time of one image on a latency table's device; None without a table."""

    @property
    def layers(self) -> int:
        """Number of layers of all stages; stem, head and classifier are not among them."""
        return sum(stage.repeats for stage in self.spec.stages)


def dash(value: object) -> str:
    """A cell; a dash where there is nothing."""
    return "-" if value in (None, 0.0, "none") else f"{value}"


def times(sizes: Iterable[int]) -> str:
    """A shape, such as 56x56x24."""
    return "x".join(map(str, sizes))


_BLOCK: NetworkColumns = {
    "op": lambda row: row.op,
    "kernel": lambda row: dash(row.kernel),
    "expand": lambda row: dash(row.expand),
    "SE": lambda row: dash(row.se),
    "skip": lambda row: dash(row.skip),
}
_DEPTH: NetworkColumns = {
    "repeats": lambda row: f"{row.repeats}",
    "stride": lambda row: dash(row.stride),
}
_ONE: NetworkColumns = {
    "part": lambda row: row.part,
    **_BLOCK,
    **_DEPTH,
    "input": lambda row: times(row.input),
    "output": lambda row: times(row.output),
    "params": lambda row: f"{row.params:,}",
    "MACs": lambda row: f"{row.macs:,}",
    "block": lambda row: dash(row.block),
}
"""Columns of a network alone."""
_SEVERAL: NetworkColumns = {
    **_BLOCK,
    "filters": lambda row: f"{row.output[-1]}",
    **_DEPTH,
    "output": lambda row: times(row.output[:2]),
}
"""Columns of networks under each other."""


def network_table(spec: NetSpec) -> Table:
    """The parts of a network and their totals."""
    total = count(spec)
    footers = {"part": "total", "params": f"{total.params:,}", "MACs": f"{total.macs:,}"}
    table = new_table(*_ONE, left=("part", "op", "skip", "block"), footers=footers)
    for row in network_rows(spec):
        table.add_row(*(cell(row) for cell in _ONE.values()))
    return table


def parts_table(networks: Sequence[ShownNetwork]) -> Table:
    """The parts, each with a line per network; a dot where a network is as the first one."""
    rows = [{row.part: row for row in network_rows(network.spec)} for network in networks]
    table = new_table("part", "network", *_SEVERAL, left=("part", "network", "op", "skip"))
    for part in max(rows, key=len):
        first = _cells(rows[0].get(part))
        for number, (network, parts) in enumerate(zip(networks, rows, strict=True)):
            cells = _cells(parts.get(part))
            if number and part in parts and part in rows[0]:
                pairs = zip(cells, first, strict=True)
                cells = [SAME if cell == theirs else cell for cell, theirs in pairs]
            table.add_row("" if number else part, network.name, *cells)
    return table


def _cells(row: NetworkRow | None) -> list[str]:
    """A line about a part; dashes where the network has no such part."""
    return [cell(row) if row else "-" for cell in _SEVERAL.values()]


def totals_table(networks: Sequence[ShownNetwork]) -> Table:
    """A line per network: its scale and its costs, each with the ratio to the first network's."""
    headers = ["network", "resolution", "classes", "stem stride", "layers"]
    headers += ["params", "ratio", "MACs", "ratio"]
    first, first_cost = networks[0], count(networks[0].spec)
    if first.predicted_ms is not None:
        headers += ["predicted ms", "ratio"]
    table = new_table(*headers, left=("network",))
    for network in networks:
        spec, cost = network.spec, count(network.spec)
        cells = [f"{spec.resolution}", f"{spec.classes}", f"{spec.stem_stride}"]
        cells += [f"{network.layers}", f"{cost.params:,}", _ratio(cost.params, first_cost.params)]
        cells += [f"{cost.macs:,}", _ratio(cost.macs, first_cost.macs)]
        if network.predicted_ms is not None and first.predicted_ms is not None:
            ratio = _ratio(network.predicted_ms, first.predicted_ms)
            cells += [f"{network.predicted_ms:.4g}", ratio]
        table.add_row(network.name, *cells)
    return table


def _ratio(value: float, first: float) -> str:
    if not first:
        return "-"
    ratio = value / first
    return f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.2g}x"


def spaces_table(paths: Sequence[str]) -> Table:
    """A line per space: how many codes and how many different networks it holds, exactly.

    Raises:
        UserError: when a file holds no space.
    """
    headers = ("space", "decisions", "codes", "distinct networks", "share")
    table = new_table(*headers, left=("space",))
    for path in paths:
        space = read_space(path)
        codes, networks = math.prod(space.decision_sizes), num_networks(space)
        numbers = f"{len(space.decision_sizes)}", f"{codes:,}", f"{networks:,}"
        table.add_row(path, *numbers, f"{networks / codes:.1%}")
    return table


def num_networks(space: MnasSpace) -> int:
    """Number of codes that differ as networks: the canonical ones (``MnasSpace.canonical``).

    Which choices of a block are alike depends on the blocks before only through the width that
    enters it, so that sums over widths count what nobody could enumerate.
    """
    ways = Counter({space.stem_filters: 1})
    for group in space.groups:
        longer: Counter[int] = Counter()
        choices = list(space.block_choices(group[0]))
        for inputs, before in ways.items():
            for choice in {space.canonical_choice(group, choice, inputs) for choice in choices}:
                longer[space.block_filters(group[-1], choice.filters)] += before
        ways = longer
    return ways.total()
