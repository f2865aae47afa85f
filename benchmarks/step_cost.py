"""What a training step of the supernet costs over one of the extracted network of the same path.

``python -m benchmarks.step_cost`` draws architectures uniformly, alternates the two steps and
prints the ratio of their CPU times per architecture, its median and its 90th percentile. A step is
forward, backward, clipping, AdamW and the reset of gradients, on one batch; the supernet's are what
a search does, those of the extracted network torch's own. The status is 1 where the median is above
1.02 or the 90th percentile above 1.15.

With ``--against timm`` MnasNet-B1 as it is built here, and timm's ``mnasnet_100``, take the places
of supernet and extracted network; the limit of the median is 1 and what chance leaves, 1.02. With
``--against plain`` it is an extracted network and the same of torch's own convolutions.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from statistics import median, quantiles
from typing import NamedTuple
from unittest import mock

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.record import machine, record
from search.settings import WeightOptimizer
from search.step import of_those_with_gradients
from supernet.arch_file import load_spec
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.network.network import Network, PaddedConv
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.training.recipe import make_optimizer

MEDIAN_LIMIT, PERCENTILE_LIMIT = 1.02, 1.15
NUM_WARM_PAIRS = 2
WEIGHTS = WeightOptimizer()
COLUMNS = (
    "  # | gradient: ours ms | theirs ms | ratio | clip: ours | theirs | AdamW: ours | theirs"
    " | whole ratio | network"
)

Logits = Callable[[Tensor], Tensor]


class Seconds(NamedTuple):
    """CPU time of one training step."""

    gradient: float
    """Forward, backward and gradient reset."""
    clip: float
    optimizer: float


class Step:
    """A training step of one network on one batch, as any loop in torch makes it."""

    def __init__(self, net: nn.Module, logits: Logits, images: Tensor, labels: Tensor) -> None:
        """``logits`` runs ``net`` on images; the learning rate leaves its weights unmoved."""
        self.net, self.logits, self.images, self.labels = net, logits, images, labels
        self.optimizer = make_optimizer(net, "adamw", lr=1e-9, weight_decay=0.0)

    def seconds(self) -> Seconds:
        """Take the step. CPU time, as wall time counts what other programs take."""
        start = time.process_time()
        functional.cross_entropy(self.logits(self.images), self.labels).backward()
        differentiated = time.process_time()
        clipped, updated, reset = self.update()
        gradient = differentiated - start + reset - updated
        return Seconds(gradient, clipped - differentiated, updated - clipped)

    def update(self) -> tuple[float, float, float]:
        """Clip, move the weights and reset gradients; returns the CPU time after each."""
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), WEIGHTS.max_grad_norm)
        clipped = time.process_time()
        self.optimizer.step()
        updated = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        return clipped, updated, time.process_time()


class SearchStep(Step):
    """A weight step of a search."""

    def update(self) -> tuple[float, float, float]:
        """Clip, move the weights and reset gradients; returns the CPU time after each."""
        with of_those_with_gradients(self.optimizer):
            WEIGHTS.shorten_gradients(self.optimizer)
            clipped = time.process_time()
            self.optimizer.step()
            updated = time.process_time()
            self.optimizer.zero_grad(set_to_none=True)
        return clipped, updated, time.process_time()


class Comparison(NamedTuple):
    """The steps of two networks: medians over the pairs."""

    ours: Seconds
    theirs: Seconds
    gradient_ratio: float
    """Of the gradient's seconds, pair by pair."""
    ratio: float
    """Of the whole steps."""


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
    gradient_ratio = median(one.gradient / two.gradient for one, two in pairs)
    ratio = median(sum(one) / sum(two) for one, two in pairs)
    return Comparison(ours_seconds, theirs_seconds, gradient_ratio, ratio)


def space_of(options: argparse.Namespace) -> MnasSpace:
    """The space that architectures are drawn from."""
    return MnasSpace(
        resolution=options.resolution, width=options.width, stem_stride=options.stem_stride
    )


def draw_batch(options: argparse.Namespace, classes: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, R, R) in channels_last, and labels (B,)."""
    images = torch.randn(options.batch, 3, options.resolution, options.resolution)
    labels = torch.randint(classes, (options.batch,))
    return images.contiguous(memory_format=torch.channels_last), labels


def slices_and_extracted(options: argparse.Namespace) -> Iterator[tuple[str, Step, Step]]:
    """Words on each architecture, its step as a slice, and that of its extracted network."""
    space = space_of(options)
    supernet = SuperNet(space).to(memory_format=torch.channels_last)
    batch = draw_batch(options, space.classes)
    for arch in islice(space.samples(options.seed), options.archs):
        extracted = supernet.extract(arch).train().to(memory_format=torch.channels_last)
        ours = SearchStep(supernet, partial(supernet, path=arch), *batch)
        yield words_on(arch), ours, Step(extracted, extracted, *batch)


def ours_and_timms(options: argparse.Namespace) -> Iterator[tuple[str, Step, Step]]:
    """Steps of MnasNet-B1 as it is built here and by timm, as often as architectures are drawn."""
    spec = load_spec("mnasnet_b1").scaled(
        resolution=options.resolution, classes=1000, stem_stride=options.stem_stride
    )
    batch = draw_batch(options, spec.classes)
    for _ in range(options.archs):
        ours, theirs = Network(spec), timm.create_model("mnasnet_100", num_classes=spec.classes)
        one, two = (
            Step(net, net, *batch)
            for net in (one.train().to(memory_format=torch.channels_last) for one in (ours, theirs))
        )
        yield "mnasnet_b1", one, two


def cropped_and_plain(options: argparse.Namespace) -> Iterator[tuple[str, Step, Step]]:
    """Steps of extracted networks, as they train and with all taps of their kernels."""
    space = space_of(options)
    batch = draw_batch(options, space.classes)
    for arch in islice(space.samples(options.seed), options.archs):
        ours = Network(space.spec(arch)).train().to(memory_format=torch.channels_last)
        theirs = copy.deepcopy(ours)
        plain = Step(theirs, partial(run_plainly, theirs), *batch)
        yield words_on(arch), Step(ours, ours, *batch), plain


def run_plainly(network: Network, images: Tensor) -> Tensor:
    """Logits (B, classes) by torch's own convolutions."""
    with mock.patch.object(PaddedConv, "forward", nn.Conv2d.forward):
        logits: Tensor = network(images)
    return logits


AGAINST = {"extracted": slices_and_extracted, "timm": ours_and_timms, "plain": cropped_and_plain}


def words_on(arch: Arch) -> str:
    """Op and kernel of each block."""
    return " ".join(f"{block.op}:{block.kernel}" for block in arch.blocks)


def compare_all(options: argparse.Namespace) -> list[Comparison]:
    """Print and return one row for each pair of networks."""
    torch.manual_seed(options.seed)
    rows = []
    for number, (words, ours, theirs) in enumerate(AGAINST[options.against](options), 1):
        rows.append(compare(ours, theirs, options.pairs))
        print_row(number, rows[-1], words)
    return rows


def print_row(number: int, row: Comparison, words: str) -> None:
    """One pair of networks, in milliseconds."""
    ours, theirs = (Seconds(*(1e3 * part for part in one)) for one in row[:2])
    print(
        f"{number:3d} | {ours.gradient:17.1f} | {theirs.gradient:9.1f} | {row.gradient_ratio:5.3f}"
        f" | {ours.clip:10.1f} | {theirs.clip:6.1f} | {ours.optimizer:11.1f}"
        f" | {theirs.optimizer:6.1f} | {row.ratio:11.3f} | {words}",
        flush=True,
    )


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=[*AGAINST], default="extracted")
    parser.add_argument("--archs", type=int, default=20, help="architectures to draw")
    parser.add_argument("--pairs", type=int, default=5, help="counted pairs per architecture")
    parser.add_argument("--resolution", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--stem_stride", type=int, default=2, help="of the first convolution")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--width", type=float, default=1.0, help="of all layers of the space")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
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
        "gradient_median": median(row.gradient_ratio for row in rows),
    }
    for part in ("clip", "optimizer"):
        for side in ("ours", "theirs"):
            times = [getattr(getattr(row, side), part) for row in rows]
            result[f"{part}_{side}_ms"] = 1e3 * median(times)
    print(
        f"whole step: median {result['median']:.3f} (limit {MEDIAN_LIMIT}),"
        f" 90th percentile {result['q90']:.3f} (limit {PERCENTILE_LIMIT})\n"
        f"gradients alone: median {result['gradient_median']:.3f}"
    )
    config = {name: value for name, value in vars(options).items() if name != "seed"}
    record("step_cost", config, options.seed, {**result, "machine": machine()})
    sys.exit(result["median"] > MEDIAN_LIMIT or result["q90"] > PERCENTILE_LIMIT)


if __name__ == "__main__":
    run_command(main, trains=True)
