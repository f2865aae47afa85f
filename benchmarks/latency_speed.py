"""How fast latencies are had once a table is there: ``python -m benchmarks.latency_speed TABLE``.

Prints the time of predicting many architectures at once, of the fastest, slowest and nearest
network, and of building a graph by hand beside exporting it. One run; compare within it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.record import machine
from retrain.export.formats import write_onnx
from search.objective.block_costs import BlockCosts
from search.objective.constraints import Constraint, resolve_constraints
from search.objective.costs import quantile
from search.objective.feasible import dearest_feasible, fastest, fastest_within, slowest
from search.objective.reach import dearest_within
from supernet.latency.models.onnx_graph import network_model
from supernet.latency.table.table import LatencyTable
from supernet.network.network import Network

NUMBER = 100_000
"""Architectures to predict at once."""


def timed(label: str, work: Callable[[], object]) -> None:
    """Print how long something takes."""
    start = time.perf_counter()
    work()
    print(f"{label:<64}{time.perf_counter() - start:>9.3f} s")


def main() -> None:
    """Time everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    table = LatencyTable.read(parser.parse_args().table)
    space = table.space
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(n, (NUMBER,), generator=generator) for n in space.decision_sizes]
    codes = torch.stack(columns, dim=1)
    print(f"# {machine()}\n# {table.device}, {space.resolution} px")
    costs = []
    timed("tabulate all blocks", lambda: costs.append(BlockCosts(space, table)))
    timed(f"predict {NUMBER:,} architectures", lambda: costs[0].of(codes))
    timed("fastest network", lambda: fastest(space, table))
    timed("slowest network", lambda: slowest(space, table))
    target = quantile(table, space, 0.4)
    timed("nearest network below p40", lambda: dearest_within(space, table, target))
    limits = resolve_constraints(
        [Constraint("params", "p40"), Constraint("memory", "p40")], space, ""
    )
    timed("fastest network of 2 constraints", lambda: fastest_within(space, table, limits))
    timed(
        "nearest below p40 of 2 constraints", lambda: dearest_feasible(space, table, target, limits)
    )
    spec = space.spec(space.sample(random.Random(0)))
    timed("build a network's graph by hand", lambda: network_model(spec).SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        network = Network(spec).eval()
        timed("export the same network", lambda: write_onnx(network, Path(folder) / "n.onnx"))


if __name__ == "__main__":
    main()
