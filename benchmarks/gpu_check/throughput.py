"""Throughput: training steps of slices of the supernet, and of networks that stand alone."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, autocast, paper_supernet, random_batch
from benchmarks.gpu_check.rows import RATES, Rows
from benchmarks.gpu_check.step import (
    StepTime,
    TrainingStep,
    add_slowest_kernels,
    describe_step,
    time_in_turn,
    time_step,
)
from search.monitoring.compute import FORWARD_PASSES, path_macs
from search.paths import warmup_path
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch

ROWS = Rows("throughput")
NUM_SCORED = 4
"""Candidates of the scoring that is timed."""
NUM_COSTLY_STEPS = min(3, AMOUNT.num_steps)
BAR = 1.02
"""What a slice's step may take over that of the extracted network."""


def time_timm() -> None:
    """The training step of timm's MnasNet, which others know."""
    net = timm.create_model("mnasnet_100", num_classes=1000).train()
    net = net.to(DEVICE).to(memory_format=torch.channels_last)
    step = TrainingStep(net, net, random_batch(AMOUNT.batch))
    taken = time_step(step)
    note = describe_step(step, taken)
    ROWS.add("timm mnasnet_100, bf16 channels_last", taken.images_per_s(), "img/s", note)


class ArchSteps:
    """Training steps of one architecture: as a slice, and extracted."""

    def __init__(self, supernet: SuperNet, arch: Arch, label: str) -> None:
        """Build both; ``label`` names the architecture in rows."""
        self.supernet, self.label = supernet, label
        self.logits = partial(supernet, path=arch)
        self.batch = random_batch(AMOUNT.batch)
        self.shared = TrainingStep(supernet, self.logits, self.batch)
        alone = supernet.extract(arch).train().to(memory_format=torch.channels_last)
        self.alone = TrainingStep(alone, alone, self.batch)

    def add(self, name: str, taken: StepTime, note: str = "") -> None:
        """Add a row of one of its steps."""
        ROWS.add(f"{self.label}: {name}", taken.images_per_s(), "img/s", note or str(taken))

    def compare(self) -> tuple[StepTime, StepTime]:
        """Times of the slice's step and of that of the extracted network."""
        shared, alone = time_in_turn([self.shared, self.alone])
        self.add("supernet", shared, describe_step(self.shared, shared))
        self.add("extracted", alone, describe_step(self.alone, alone))
        return shared, alone

    def vary(self) -> None:
        """The same steps with other optimizers, in another memory format, with other kernels."""
        for kind in ("foreach", "fused"):
            chosen: dict[str, Any] = {kind: True}
            optimizer = torch.optim.AdamW(
                self.supernet.parameters(), lr=1e-6, weight_decay=0.0, **chosen
            )
            step = TrainingStep(self.supernet, self.logits, self.batch, optimizer)
            self.add(f"supernet, AdamW {kind}", time_step(step))
        add_slowest_kernels(ROWS, f"{self.label}: supernet", self.shared)
        add_slowest_kernels(ROWS, f"{self.label}: extracted", self.alone)
        images, labels = self.batch
        self.supernet.to(memory_format=torch.contiguous_format)
        step = TrainingStep(self.supernet, self.logits, (images.contiguous(), labels))
        self.add("supernet, NCHW", time_step(step))
        self.supernet.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
        self.add("supernet, cudnn.benchmark", time_step(self.shared))
        self.add("extracted, cudnn.benchmark", time_step(self.alone))
        torch.backends.cudnn.benchmark = False


def compare_with_extracted(supernet: SuperNet, rng: random.Random) -> None:
    """Steps of some architectures as slices and alone."""
    archs = [supernet.space.sample(rng) for _ in range(AMOUNT.num_archs)]
    pairs = [
        ArchSteps(supernet, arch, f"arch {number}").compare() for number, arch in enumerate(archs)
    ]
    ratio = statistics.median(shared.whole_ms / alone.whole_ms for shared, alone in pairs)
    host = statistics.median(shared.host_ms for shared, _ in pairs)
    ROWS.add("supernet step / extracted step, median", ratio, "", f"bar {BAR}; host {host:.1f} ms")
    macs = [path_macs(supernet.space, arch, stream=False) for arch in archs]
    for kind, times in zip(("uniform", "alone"), zip(*pairs, strict=True), strict=True):
        add_rate(kind, macs, times)


def add_rate(kind: str, macs: Sequence[int], times: Sequence[StepTime], batch: int = 0) -> None:
    """The row that a cost model reads: multiply-adds a second of steps of some networks.

    Args:
        kind: of the steps, one of ``RATES``.
        macs: multiply-adds of one image, of each network.
        times: of a step of each.
        batch: images of a step, where not the check's usual ones.
    """
    seconds = sum(taken.whole_ms for taken in times) / 1e3
    done = FORWARD_PASSES * (batch or AMOUNT.batch) * sum(macs)
    ROWS.add(RATES[kind], done / seconds, "1/s", f"{len(macs)} networks, bf16")


def time_scoring(supernet: SuperNet, rng: random.Random) -> None:
    """What an update of the controller does: several slices on one batch, forwards only."""
    archs = [supernet.space.sample(rng) for _ in range(NUM_SCORED)]
    images, _ = random_batch(AMOUNT.batch)

    @torch.no_grad()
    def score() -> None:
        with autocast(torch.bfloat16):
            for arch in archs:
                supernet(images, arch)

    taken = time_step(score, NUM_COSTLY_STEPS)
    speed = taken.images_per_s(AMOUNT.batch * NUM_SCORED)
    note = f"host {taken.host_ms / NUM_SCORED:.1f} ms a slice"
    ROWS.add("scoring slices, forward", speed, "img/s", note)


def time_warmup(supernet: SuperNet, rng: random.Random) -> None:
    """Steps at the start of a search: each decision has its warm-up value."""
    path = warmup_path(supernet.space.sample(rng), supernet.space, 1.0, rng)
    macs = path_macs(supernet.space, path, stream=True)
    for batch in (AMOUNT.batch // 2, AMOUNT.batch):
        name = f"warm-up step, batch {batch}"
        logits = partial(supernet, path=path, stream=1.0)
        try:
            step = TrainingStep(supernet, logits, random_batch(batch))
            taken = time_step(step, NUM_COSTLY_STEPS)
            ROWS.add(name, taken.images_per_s(batch), "img/s", describe_step(step, taken))
            if batch < AMOUNT.batch:
                add_rate("warm-up", [macs], [taken], batch)
        except torch.OutOfMemoryError as error:
            ROWS.add(name, 0.0, "img/s", f"out of memory: {str(error)[:120]}")


def main() -> None:
    """Time all of them."""
    time_timm()
    supernet, rng = paper_supernet(), random.Random(0)
    sizes = [parameter.numel() for parameter in supernet.parameters()]
    ROWS.add("supernet parameters", sum(sizes) / 1e6, "M", f"{len(sizes)} tensors")
    compare_with_extracted(supernet, rng)
    time_warmup(supernet, rng)
    time_scoring(supernet, rng)
    ArchSteps(supernet, supernet.space.sample(random.Random(0)), "arch 0").vary()


if __name__ == "__main__":
    main()
