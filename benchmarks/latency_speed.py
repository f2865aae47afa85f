"""Speed of costs, and nearness to targets: ``python -m benchmarks.latency_speed TABLE|UNIT``.

Prints the time of predicting many architectures at once, of building a graph by hand beside
exporting it, and what the questions to the integer program (``search.objective.feasible``) take
and reach without, with one and with two constraints; ``--keep`` appends these to
benchmarks/results/feasible.jsonl. One run; compare within it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.record import machine, record
from retrain.export.formats.metadata import describe
from retrain.export.formats.onnx_file import write_onnx
from retrain.export.formats.shipment import Shipment
from search.objective.constraints import Constraint, Limit, violation
from search.objective.costs import BlockCosts, quantile
from search.objective.feasible import cheapest, costliest, nearest_below
from search.objective.objective import resolve_constraints
from supernet.cost.model import CLOSED_FORMS, CostModel
from supernet.data_description import DataDescription
from supernet.latency.models.onnx_graph import network_model
from supernet.latency.table.table import LatencyTable
from supernet.network.checkpoint import TrainedNetwork
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace, read_space

NUMBER = 100_000
"""Architectures to predict at once."""
SHARES = (0.05, 0.2, 0.4, 0.8, 0.95)
"""Quantiles of the space that are the targets."""

Answer = TypeVar("Answer")


def timed(label: str, work: Callable[[], Answer]) -> tuple[Answer, float]:
    """Answer of work, and the seconds of CPU that it takes, which are printed."""
    start = time.process_time()
    answer = work()
    seconds = time.process_time() - start
    print(f"{label:<64}{seconds:>9.3f} s")
    return answer, seconds


def questions(costs: BlockCosts, limits: tuple[Limit, ...]) -> dict[str, Any]:
    """Costs of the cheapest and the nearest network under limits, and the time to find them."""
    model, space = costs.model, costs.space
    label = f"under {len(limits)} constraints"
    (_, least), seconds = timed(f"cheapest network {label}", lambda: cheapest(costs, limits))
    result: dict[str, Any] = {"cheapest": least, "cheapest_seconds": seconds, "nearest": []}
    for share in SHARES:
        target = quantile(model, space, share)
        if target < least:
            continue
        (arch, cost), seconds = timed(
            f"nearest network below p{share:.0%} {label}".replace("%", ""),
            partial(nearest_below, costs, target, limits),
        )
        assert cost <= target
        assert not violation(limits, space.spec(arch))
        print(f"{'':>8}reaches {cost / target:.6f} of the target")
        result["nearest"].append([share, cost / target, seconds])
    return result


def graphs(space: MnasSpace) -> None:
    """Time building a network's graph by hand and exporting it."""
    spec = space.spec(space.sample(random.Random(0)))
    timed("build a network's graph by hand", lambda: network_model(spec).SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        trained = TrainedNetwork(spec, {}, None, {}, {}, None)
        names = DataDescription.of_classes(spec.classes)
        metadata = describe(trained, names, "classification", {})
        shipment = Shipment(Network(spec).eval(), metadata)
        timed("export the same network", lambda: write_onnx(shipment, Path(folder) / "n.onnx"))


def main() -> None:
    """Time everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a latency table; or macs or params, of --space")
    parser.add_argument("--space", default="configs/spaces/paper.yaml")
    parser.add_argument("--keep", action="store_true", help="append what was found to the results")
    options = parser.parse_args()
    model: CostModel = CLOSED_FORMS.get(options.model) or LatencyTable.read(options.model)
    space = model.space if isinstance(model, LatencyTable) else read_space(options.space)
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(n, (NUMBER,), generator=generator) for n in space.decision_sizes]
    codes = torch.stack(columns, dim=1)
    print(f"# {machine()}\n# {model.device or model.unit}, {space.resolution} px")
    costs, _ = timed("tabulate all blocks", lambda: BlockCosts(space, model))
    timed(f"predict {NUMBER:,} architectures", lambda: costs.of(codes))
    timed("costliest network", lambda: costliest(costs))
    other: Any = "macs" if model.unit == "params" else "params"
    for asked in ((), (other,), (other, "memory"), (other, "size")):
        limits = resolve_constraints([Constraint(one, "p40") for one in asked], space, "")
        found = questions(costs, limits)
        if options.keep:
            config = {"unit": model.unit, "device": model.device, "px": space.resolution}
            record("feasible", {**config, "constraints": [f"{one} p40" for one in asked]}, 0, found)
    graphs(space)


if __name__ == "__main__":
    main()
