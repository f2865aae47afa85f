"""Tables of a search's cost: hours by part, what a step needs, and how all of it grows."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.record import RESULTS
from benchmarks.search_cost.model import ASSUMED_LINK, PARTS, Cost, Drawn, Recipe, meta_supernet
from supernet.command.output import new_table, print_table
from supernet.cost.timed_layers import timed_layers_of_space
from supernet.space.mnasnet import MnasSpace


def images_per_core() -> tuple[float, str]:
    """Images of 500x375 px that one core reads a second, as ``benchmarks.loading`` has measured."""
    rows = map(json.loads, (RESULTS / "loading.jsonl").read_text().splitlines())
    fastest = max((row for row in rows if row["kind"] == "500x375"), key=lambda row: row["ours"])
    return fastest["ours"], f"{fastest['decoder']}, {fastest['machine'].split(',')[0]}"


def print_costs(costs: Sequence[Cost]) -> None:
    """GPU hours and hours by part."""
    gpus = [cost.gpus for cost in costs]
    head = [f"{unit} on {n}" for unit in ("GPU hours", "hours") for n in gpus]
    table = new_table("part", "multiply-adds, M", *head, left={"part"})
    groups = {
        **{part: [part] for part in PARTS[:3]},
        "search": list(PARTS[:3]),
        "retraining": ["retraining"],
    }
    for name, parts in groups.items():
        macs = f"{costs[0].macs(name) / 1e6:,.0f}" if len(parts) == 1 else ""
        numbers = [sum(map(cost.gpu_hours, parts)) for cost in costs]
        numbers += [sum(map(cost.hours, parts)) for cost in costs]
        table.add_row(name, macs, *(f"{one:,.1f}" for one in numbers))
    print_table(table)


def print_steps(costs: Sequence[Cost]) -> None:
    """What a step has, needs and exchanges."""
    per_core, _ = images_per_core()
    rows: dict[str, list[str]] = {}

    def add(name: str, values: Iterable[str]) -> None:
        rows[name] = list(values)

    add("steps, of which shared", (f"{c.steps:,}, {c.shared_steps:,}" for c in costs))
    add("steps of a tuning", (f"{c.lengths.label:,}" for c in costs))
    for part in PARTS:
        add(f"images/s of a GPU, {part}", (f"{c.speed(part):,.0f}" for c in costs))
    needed = (c.speed("uniform") / per_core for c in costs)
    add("cores that read, for a GPU on uniform paths", (f"{one:.1f}" for one in needed))
    exchanged = [cost.drawn.gradient_bytes(cost.gpus) for cost in costs]
    full = sum(one.numel() for one in meta_supernet(costs[0].recipe.space).parameters())
    add(
        "gradients of all weights, MB",
        (f"{4 * full / 1e6:.1f}" if c.gpus > 1 else "0" for c in costs),
    )
    for kind in ("warm-up", "uniform"):
        add(f"gradients exchanged, {kind}, MB", (f"{one[kind] / 1e6:.1f}" for one in exchanged))
        shares = (
            _exchange_share(cost, kind, one[kind])
            for cost, one in zip(costs, exchanged, strict=True)
        )
        add(f"... of a {kind} step's time", (f"{share:.1%}" for share in shares))
    table = new_table("a step", *(f"on {cost.gpus}" for cost in costs), left={"a step"})
    for name, values in rows.items():
        table.add_row(name, *values)
    print_table(table)


def _exchange_share(cost: Cost, kind: str, sent: float) -> float:
    """Time of a ring's exchange over that of computing, one after the other."""
    seconds = 2 * (cost.gpus - 1) / cost.gpus * sent / ASSUMED_LINK
    return seconds / (cost.recipe.batch / cost.speed(kind))


def variants(space: MnasSpace) -> dict[str, MnasSpace]:
    """Spaces beside the paper's, each different in one thing."""

    def other(**values: Any) -> MnasSpace:
        return dataclasses.replace(space, **values)

    def deeper(more: int) -> MnasSpace:
        return other(
            base_filters=(*space.base_filters, *[320] * more)[: 7 + more],
            base_layers=(*space.base_layers, *[1] * more)[: 7 + more],
            strides=(*space.strides, *[1] * more)[: 7 + more],
        )

    return {
        "the paper's": space,
        "without its last 2 blocks": deeper(-2),
        "2 blocks more": deeper(2),
        "kernels 3, 5, 7": other(kernels=(3, 5, 7)),
        "no plain convolution": other(ops=tuple(op for op in space.ops if op != "conv")),
        "no squeeze-and-excitation": other(ses=(0.0,)),
        "5 widths, 5 depths": other(
            filters=(0.75, 0.875, 1.0, 1.125, 1.25), layers=(-1, 0, 1, 2, 3)
        ),
        "half of the width": other(width=0.5),
        "160 px": other(resolution=160),
        "320 px": other(resolution=320),
    }


def print_growth(recipe: Recipe) -> None:
    """What changes with blocks, choices, widths and resolution."""
    table = new_table(
        *("space", "networks", "weights, M", "layers to time", "uniform, M", "warm-up, M"),
        left={"space"},
    )
    for name, space in variants(recipe.space).items():
        macs = Drawn(dataclasses.replace(recipe, space=space)).macs
        weights = sum(one.numel() for one in meta_supernet(space).parameters())
        table.add_row(
            name,
            f"10^{sum(map(math.log10, space.decision_sizes)):.1f}",
            f"{weights / 1e6:.1f}",
            f"{len(timed_layers_of_space(space)):,}",
            f"{macs['uniform'] / 1e6:,.0f}",
            f"{macs['warm-up'] / 1e6:,.0f}",
        )
    print_table(table)
