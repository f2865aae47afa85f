"""What a training step of the supernet costs over one of the extracted network of the same path.

``python -m benchmarks.step_cost`` draws architectures uniformly, alternates the two steps and
prints the ratio of their CPU times per architecture, its median and its 90th percentile. A step is
forward, backward and gradient reset on one batch; the optimizer is reported apart. The status is 1
where the median is above 1.05 or the 90th percentile above 1.15.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.record import machine, record
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.network.network import Block, Network
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace

MEDIAN_LIMIT, PERCENTILE_LIMIT = 1.05, 1.15
NUM_WARM_PAIRS = 2
COLUMNS = (
    "  # | supernet ms | extracted ms | ratio | optimizer: supernet ms | extracted ms | ops:kernels"
)

Logits = Callable[[Tensor], Tensor]


class Seconds(NamedTuple):
    """CPU time of one training step."""

    gradient: float
    """Forward, backward and gradient reset."""
    optimizer: float


class Step:
    """A training step of one network on one batch."""

    def __init__(self, net: nn.Module, logits: Logits, images: Tensor, labels: Tensor) -> None:
        """``logits`` runs ``net`` on images; the learning rate leaves its weights unmoved."""
        self.logits, self.images, self.labels = logits, images, labels
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-9, weight_decay=0.0)

    def seconds(self) -> Seconds:
        """Take the step. CPU time, as wall time counts what other programs take."""
        start = time.process_time()
        functional.cross_entropy(self.logits(self.images), self.labels).backward()
        differentiated = time.process_time()
        self.optimizer.step()
        updated = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        reset = time.process_time()
        return Seconds(differentiated - start + reset - updated, updated - differentiated)


class Comparison(NamedTuple):
    """The steps of one architecture: medians over the pairs."""

    supernet: Seconds
    extracted: Seconds
    ratio: float
    """Of the gradient's seconds, pair by pair."""


def compare(ours: Step, theirs: Step, num_pairs: int) -> Comparison:
    """Alternate the steps; the first pairs are not counted, as oneDNN compiles their kernels."""
    pairs = []
    for number in range(NUM_WARM_PAIRS + num_pairs):
        # Who goes first alternates, as the second finds other data in the caches.
        if number % 2:
            one = ours.seconds()
            pairs.append((one, theirs.seconds()))
        else:
            two = theirs.seconds()
            pairs.append((ours.seconds(), two))
    pairs = pairs[NUM_WARM_PAIRS:]
    ours_seconds, theirs_seconds = (
        Seconds(*map(median, zip(*side, strict=True))) for side in zip(*pairs, strict=True)
    )
    ratio = median(one.gradient / two.gradient for one, two in pairs)
    return Comparison(ours_seconds, theirs_seconds, ratio)


@torch.no_grad()
def crop_kernels(network: Network) -> None:
    """Drop the taps that see nothing but padding, as ``functional.convolve`` does."""
    for block in (module for module in network.modules() if isinstance(module, Block)):
        for conv in (module for module in block.children() if isinstance(module, nn.Conv2d)):
            reach = 2 * block.layer.size - 1
            if conv.weight.shape[-1] > reach:
                margin = (conv.weight.shape[-1] - reach) // 2
                cropped = conv.weight[..., margin:-margin, margin:-margin]
                conv.weight = nn.Parameter(cropped.contiguous(memory_format=torch.channels_last))
                conv.padding = (reach // 2, reach // 2)


def compare_all(options: argparse.Namespace) -> list[Comparison]:
    """Print and return one row per architecture."""
    space = MnasSpace(
        resolution=options.resolution, width=options.width, stem_stride=options.stem_stride
    )
    torch.manual_seed(options.seed)
    supernet = SuperNet(space).to(memory_format=torch.channels_last)
    images = torch.randn(options.batch, 3, options.resolution, options.resolution)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(space.classes, (options.batch,))
    rng, rows = random.Random(options.seed), []
    for number in range(1, options.archs + 1):
        arch = space.sample(rng)
        extracted = supernet.extract(arch).train().to(memory_format=torch.channels_last)
        if options.crop_extracted:
            crop_kernels(extracted)
        ours = Step(supernet, partial(supernet, path=arch), images, labels)
        rows.append(compare(ours, Step(extracted, extracted, images, labels), options.pairs))
        print_row(number, rows[-1], arch)
    return rows


def print_row(number: int, row: Comparison, arch: Arch) -> None:
    """One architecture, in milliseconds."""
    print(
        f"{number:3d} | {1e3 * row.supernet.gradient:11.1f} | {1e3 * row.extracted.gradient:12.1f}"
        f" | {row.ratio:5.3f} | {1e3 * row.supernet.optimizer:22.1f}"
        f" | {1e3 * row.extracted.optimizer:12.1f}"
        f" | {' '.join(f'{block.op}:{block.kernel}' for block in arch.blocks)}",
        flush=True,
    )


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", type=int, default=20, help="architectures to draw")
    parser.add_argument("--pairs", type=int, default=5, help="counted pairs per architecture")
    parser.add_argument("--resolution", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--stem_stride", type=int, default=2, help="of the first convolution")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--width", type=float, default=1.0, help="of all layers of the space")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--crop_extracted",
        action="store_true",
        help="crop the extracted kernels on tiny maps too, where only the supernet does",
    )
    options = parser.parse_args()
    for name, least in (("archs", 2), ("pairs", 1), ("batch", 2), ("threads", 1)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} is {getattr(options, name)}, it must be at least {least}")
    return options


def main() -> None:
    """Print the machine, the table and the verdict, and record them."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    print(f"# {machine()}")
    print(f"# {' '.join(f'{name}={value}' for name, value in vars(options).items())}")
    print(COLUMNS)
    rows = compare_all(options)
    ratios = [row.ratio for row in rows]
    result = {
        "median": median(ratios),
        "q90": quantiles(ratios, n=10, method="inclusive")[-1],
        "optimizer_ms": 1e3 * median(row.supernet.optimizer for row in rows),
        "extracted_optimizer_ms": 1e3 * median(row.extracted.optimizer for row in rows),
    }
    print(
        f"ratio: median {result['median']:.3f} (limit {MEDIAN_LIMIT}),"
        f" 90th percentile {result['q90']:.3f} (limit {PERCENTILE_LIMIT})\n"
        f"optimizer (AdamW) apart: median {result['optimizer_ms']:.1f} ms,"
        f" extracted {result['extracted_optimizer_ms']:.1f} ms"
    )
    config = {name: value for name, value in vars(options).items() if name != "seed"}
    record("step_cost", config, options.seed, result)
    sys.exit(result["median"] > MEDIAN_LIMIT or result["q90"] > PERCENTILE_LIMIT)


if __name__ == "__main__":
    run_command(main, trains=True)
