"""Retraining's step, with and without the average of the weights and compilation."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, GPU, autocast, random_batch, synchronize
from benchmarks.gpu_check.rows import RATES, Rows
from benchmarks.gpu_check.step import Step, time_step
from search.monitoring.compute import FORWARD_PASSES
from supernet.arch_file import load_spec
from supernet.cost.counts import count
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.training.recipe import PAPER
from supernet.training.weight_average import MovingAverage

ROWS = Rows("compile")
MODES = ("default", "reduce-overhead")


def a1_spec() -> NetSpec:
    """MnasNet-A1 at the resolution of the check."""
    spec = load_spec("mnasnet_a1")
    return spec.scaled(resolution=AMOUNT.resolution, classes=1000, stem_stride=2)


def make_network() -> Network:
    """MnasNet-A1 with the weights of seed 0, on the device."""
    torch.manual_seed(0)
    return PAPER.make_network(a1_spec()).to(DEVICE).train()


def make_step(
    net: nn.Module,
    average: bool,
    logits: Callable[[Tensor], Tensor] | None = None,
    batch: int = AMOUNT.batch,
) -> Step:
    """A step of the paper's recipe; ``logits`` runs ``net``, if not ``net`` itself does."""
    forward = net if logits is None else logits
    optimizer = PAPER.make_optimizer(net, batch)
    images, labels = random_batch(batch)
    moving = MovingAverage(PAPER.ema_decay, copy.deepcopy(net), net) if average else None
    numbers = itertools.count()

    def step() -> None:
        # Graphs keep their outputs in memory of their own, which the next step may use again.
        torch.compiler.cudagraph_mark_step_begin()
        with autocast(torch.bfloat16):
            loss = PAPER.loss(forward(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if moving:
            moving.update(next(numbers))

    return step


def add_row(name: str, step: Step, base_ms: float = 0.0, note: str = "") -> float:
    """Time a step and add its row.

    Args:
        name: of the row.
        step: what is timed.
        base_ms: time of the step that it is compared to; 0 compares nothing.
        note: what else is to be said.

    Returns:
        The step's time, in ms.
    """
    taken = time_step(step, AMOUNT.compiled_steps)
    notes = (f"{base_ms / taken.whole_ms:.3f} x" if base_ms else "", str(taken), note)
    ROWS.add(name, taken.images_per_s(), "img/s", ", ".join(filter(None, notes)))
    return taken.whole_ms


def time_compiled(mode: str, base_ms: float) -> None:
    """Steps of a compiled network; without a GPU nothing is generated, only traced."""
    start, net = time.perf_counter(), make_network()
    fast = torch.compile(net, mode=mode) if GPU else torch.compile(net, backend="eager")
    step = make_step(net, True, fast)
    step()
    synchronize()
    note = f"first step {time.perf_counter() - start:.0f} s"
    add_row(f"mnasnet_a1, torch.compile {mode}", step, base_ms, note)
    torch.compiler.reset()


def main() -> None:
    """Time MnasNet-A1, timm's peer of it, and A1 again in faster ways."""
    base_ms = add_row("mnasnet_a1, rmsproptf, with average", make_step(make_network(), True))
    macs = FORWARD_PASSES * AMOUNT.batch * count(a1_spec()).macs
    ROWS.add(RATES["retraining"], 1e3 * macs / base_ms, "1/s", "mnasnet_a1, bf16")
    add_row("mnasnet_a1, without the average", make_step(make_network(), False), base_ms)
    torch.backends.cudnn.benchmark = True
    add_row("mnasnet_a1, cudnn.benchmark", make_step(make_network(), True), base_ms)
    torch.backends.cudnn.benchmark = False
    peer = timm.create_model("mnasnet_100", num_classes=1000).train()
    peer = peer.to(DEVICE).to(memory_format=torch.channels_last)
    add_row("timm mnasnet_100, the same recipe without average", make_step(peer, False))
    for mode in MODES:
        time_compiled(mode, base_ms)


if __name__ == "__main__":
    main()
