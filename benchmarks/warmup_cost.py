"""What a warm-up step of the supernet costs over a uniform one: multiply-adds, CPU time, memory.

``python -m benchmarks.warmup_cost`` draws warm-up paths, whose chances of a warm-up value fall from
1 to 0 as in a search, and as many uniform paths, alternates their steps, and prints ratios. A step
is forward, backward and gradient reset on one batch. Memory is what the forward pass keeps for the
backward pass: its mean over paths, and the most that any takes.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.record import machine, record
from search.monitoring.compute import path_macs
from search.paths import warmup_path
from search.settings import SHARE_SLICES, Schedule
from supernet.command.process import run_command
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path
from supernet.space.mnasnet import MnasSpace

Measure = Callable[[Path], float]


def ratio_of_means(measure: Measure, pairs: Sequence[tuple[Path, Path]]) -> float:
    """Mean over warm-up paths, over that over uniform ones; both of a pair are measured in turn."""
    taken = [tuple(map(measure, pair)) for pair in pairs]
    warm, uniform = (mean(side) for side in zip(*taken, strict=True))
    return warm / uniform


def ratio_of_peaks(measure: Measure, pairs: Sequence[tuple[Path, Path]]) -> float:
    """The most over warm-up paths, over that over uniform ones."""
    warm, uniform = (max(map(measure, side)) for side in zip(*pairs, strict=True))
    return warm / uniform


class Steps:
    """Steps of paths of one supernet on one batch."""

    def __init__(self, space: MnasSpace, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.supernet = SuperNet(space).to(memory_format=torch.channels_last)
        images = torch.randn(batch, 3, space.resolution, space.resolution)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(space.classes, (batch,))

    def seconds(self, path: Path) -> float:
        """CPU time of a step, whose kernels a first one has compiled."""
        self._step(path)
        start = time.process_time()
        self._step(path)
        return time.process_time() - start

    def kept_bytes(self, path: Path) -> float:
        """What the forward pass keeps for the backward pass, without weights."""
        weights = {one.untyped_storage().data_ptr() for one in self.supernet.parameters()}
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.supernet(self.images, path, 1.0)
        return float(
            sum(one.untyped_storage().nbytes() for key, one in kept.items() if key not in weights)
        )

    def _step(self, path: Path) -> None:
        functional.cross_entropy(self.supernet(self.images, path, 1.0), self.labels).backward()
        self.supernet.zero_grad(set_to_none=True)


def draw_pairs(
    space: MnasSpace, num: int, seed: int, chances: Sequence[float]
) -> list[tuple[Path, Path]]:
    """Pairs of a warm-up path and a uniform one."""
    rng = random.Random(seed)
    return [
        (warmup_path(space.sample(rng), space, chance, rng), space.sample(rng))
        for chance in (chances[len(chances) * n // num] for n in range(num))
    ]


def measured(steps: Steps, options: argparse.Namespace) -> dict[str, float]:
    """Ratios of warm-up paths to uniform ones."""
    space, num = steps.supernet.space, options.pairs
    falling = draw_pairs(space, num, options.seed, [1 - (n + 0.5) / num for n in range(num)])
    many = 20 * num
    means = draw_pairs(space, many, options.seed, [1 - (n + 0.5) / many for n in range(many)])
    first = draw_pairs(space, many, options.seed, [1.0])

    def macs(path: Path) -> float:
        return path_macs(space, path, stream=True)

    return {
        "macs": ratio_of_means(macs, means),
        "macs_at_start": ratio_of_means(macs, first),
        "cpu_time": ratio_of_means(steps.seconds, falling),
        "memory": ratio_of_means(steps.kept_bytes, falling),
        "peak_memory": ratio_of_peaks(steps.kept_bytes, falling),
    }


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="of paths that are run")
    parser.add_argument("--resolution", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--stem_stride", type=int, default=2, help="of the first convolution")
    parser.add_argument("--batch", type=int, default=32, help="images per step")
    parser.add_argument("--width", type=float, default=1.0, help="of all layers of the space")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Print the machine and the ratios, and record them."""
    options = parse_options()
    torch.set_num_threads(1)
    print(f"# {machine()}")
    print(f"# {' '.join(f'{name}={value}' for name, value in vars(options).items())}")
    space = MnasSpace(
        resolution=options.resolution, width=options.width, stem_stride=options.stem_stride
    )
    result = measured(Steps(space, options.batch, options.seed), options)
    share = SHARE_SLICES * Schedule().warmup
    result["search"] = 1 + share * (result["cpu_time"] - 1)
    print("warm-up step over uniform step")
    print(f"multiply-adds        {result['macs']:.2f}, at the start {result['macs_at_start']:.2f}")
    print(f"CPU time             {result['cpu_time']:.2f}")
    print(f"memory               {result['memory']:.2f}, the most {result['peak_memory']:.2f}")
    print(f"mean step of a search by slices over a uniform one, CPU time {result['search']:.2f}")
    config = {name: value for name, value in vars(options).items() if name != "seed"}
    record("warmup_cost", config, options.seed, result)


if __name__ == "__main__":
    run_command(main, trains=True)
