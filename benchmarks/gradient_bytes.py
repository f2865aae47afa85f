"""What ranks of a search exchange of their gradients: bytes, over what their paths train.

``python -m benchmarks.gradient_bytes`` draws a path for each of 1, 2, 4 and 8 ranks, at the start
and in the middle of warm-up and uniformly. It prints means over steps: bytes of the weights that
one path trains, that any of the ranks' trains, and that the search exchanges; and the host's time
to plan that. No process is started, as each rank knows the paths of all.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from statistics import mean, median

import torch

from benchmarks.record import machine, record
from search.gradients.slices import PathSlices, num_weights
from search.paths import warmup_path
from supernet.command.process import run_command
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path
from supernet.space.mnasnet import MnasSpace

RANKS = (1, 2, 4, 8)
KINDS = {"warm-up, start": 1.0, "warm-up, middle": 0.5, "uniform": 0.0}
"""Chances of warm-up values."""
FLOAT_BYTES = 4


def paths_of_steps(space: MnasSpace, ranks: int, chance: float, num: int) -> Iterator[list[Path]]:
    """Paths of each rank in so many steps."""
    rng = random.Random(ranks)
    for _ in range(num):
        yield [warmup_path(space.sample(rng), space, chance, rng) for _ in range(ranks)]


def measured(slices: PathSlices, steps: list[list[Path]], stream: bool) -> dict[str, float]:
    """Means over steps, in bytes, and the median time of planning an exchange."""
    sums: dict[str, list[float]] = {"own": [], "union": [], "exchanged": []}
    seconds = []
    for paths in steps:
        start = time.process_time()
        boxes = slices.covering(paths, stream)
        seconds.append(time.process_time() - start)
        sums["exchanged"].append(sum(map(num_weights, boxes.values())))
        sums["union"].append(slices.num_trained(paths, stream))
        sums["own"].append(mean(slices.num_trained([path], stream) for path in paths))
    found = {f"{name}_bytes": FLOAT_BYTES * mean(values) for name, values in sums.items()}
    return found | {"plan_ms": 1e3 * median(seconds)}


def line(name: str, ranks: int, found: dict[str, float], all_bytes: float) -> str:
    """A row of the table."""
    own, union, exchanged = (found[f"{one}_bytes"] for one in ("own", "union", "exchanged"))
    return (
        f"{name:15} {ranks:5} {own / 1e6:8.1f} {union / 1e6:8.1f} {exchanged / 1e6:9.1f}"
        f" {exchanged / union:7.3f} {exchanged / own:5.2f} {exchanged / all_bytes:6.1%}"
        f" {found['plan_ms']:7.1f}"
    )


def main() -> None:
    """Print the machine and the table, and record its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="of each kind and number of ranks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = MnasSpace()
    with torch.device("meta"):
        supernet = SuperNet(space)
    all_bytes = FLOAT_BYTES * sum(one.numel() for one in supernet.parameters())
    slices = PathSlices(supernet)
    print(f"# {machine()}")
    print(f"all shared weights: {all_bytes / 1e6:.1f} MB")
    print("                         MB of                      exchanged over           plan")
    print("paths           ranks a path's   union exchanged   union  own    all      ms")
    for name, chance in KINDS.items():
        for ranks in RANKS:
            steps = list(paths_of_steps(space, ranks, chance, options.steps))
            found = measured(slices, steps, stream=chance > 0)
            print(line(name, ranks, found, all_bytes), flush=True)
            config = {"paths": name, "ranks": ranks, "steps": options.steps}
            record("gradient_bytes", config, 0, {**found, "all_bytes": all_bytes})


if __name__ == "__main__":
    run_command(main, trains=True)
