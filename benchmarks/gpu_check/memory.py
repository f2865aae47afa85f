"""Memory: what an image takes in each kind of training step, and the largest batch that fits."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, GPU, paper_supernet, random_batch
from benchmarks.gpu_check.retraining import make_network, make_step
from benchmarks.gpu_check.rows import Rows
from benchmarks.gpu_check.step import Step, TrainingStep, peak_memory
from search.dry_pass import largest
from search.paths import warmup_path
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path

ROWS = Rows("memory")
MIB = 2**20
MULTIPLE = 8
"""Batches are whole multiples of it."""
TRIES = 4
"""Batches that are tried, each nine tenths of the one before."""


def supernet_step(path_of: Callable[[SuperNet], Path], batch: int) -> Step:
    """A weight step of one path on the paper's supernet."""
    supernet = paper_supernet()
    logits = partial(supernet, path=path_of(supernet), stream=1.0)
    return TrainingStep(supernet, logits, random_batch(batch))


def largest_path(supernet: SuperNet) -> Path:
    """The path that takes the most memory, which a search tries first."""
    return largest(supernet.space)


def first_path(supernet: SuperNet) -> Path:
    """A path at the start of the warm-up."""
    rng = random.Random(0)
    return warmup_path(supernet.space.sample(rng), supernet.space, 1.0, rng)


def uniform_path(supernet: SuperNet) -> Path:
    """A path after the warm-up."""
    return supernet.space.sample(random.Random(0))


def retraining_step(batch: int) -> Step:
    """A step of MnasNet-A1 by the paper's recipe, with the average of its weights."""
    return make_step(make_network(), True, batch=batch)


def peak_bytes(make: Callable[[int], Step], batch: int) -> float:
    """Most memory of a second step, whose optimizer has its state by then; 0 without a GPU."""
    step = make(batch)
    step()
    return 2**30 * peak_memory(step)


def largest_batch(make: Callable[[int], Step], per_image: float, fixed: float) -> int:
    """The largest batch that runs, of those that should fit by what an image takes; 0 if none."""
    if not GPU:
        return AMOUNT.batch
    free, _ = torch.cuda.mem_get_info(DEVICE)
    batch = int((free + torch.cuda.memory_reserved() - fixed) / max(per_image, 1.0))
    for _ in range(TRIES):
        batch = batch // MULTIPLE * MULTIPLE
        try:
            peak_bytes(make, batch)
        except torch.OutOfMemoryError:
            batch = int(0.9 * batch)
        else:
            return batch
        torch.cuda.empty_cache()
    return 0


def add_rows(name: str, make: Callable[[int], Step]) -> None:
    """Rows of one kind of step."""
    small, large = max(2, AMOUNT.batch // 4), max(4, AMOUNT.batch // 2)
    least, more = (peak_bytes(make, batch) for batch in (small, large))
    per_image = (more - least) / (large - small)
    fixed = least - per_image * small
    ROWS.add(f"{name}: memory of an image", per_image / MIB, "MiB", f"and {fixed / MIB:.0f} MiB")
    if GPU:
        torch.cuda.empty_cache()
    ROWS.add(f"{name}: largest batch", largest_batch(make, per_image, fixed), "images")
    if GPU:
        torch.cuda.empty_cache()


def main() -> None:
    """The kinds of steps that a search on ImageNet and its retraining take."""
    add_rows("step of the largest path", partial(supernet_step, largest_path))
    add_rows("warm-up step", partial(supernet_step, first_path))
    add_rows("uniform step", partial(supernet_step, uniform_path))
    add_rows("retraining", retraining_step)


if __name__ == "__main__":
    main()
