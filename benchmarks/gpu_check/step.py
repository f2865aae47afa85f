"""A training step: what it takes on the GPU and on the host, its kernels and its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.nn import functional
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_check.machine import AMOUNT, DEVICE, GPU, autocast, synchronize
from benchmarks.gpu_check.rows import Rows
from search.settings import WeightOptimizer
from search.step import of_those_with_gradients
from supernet.training.recipe import make_optimizer

Step = Callable[[], None]
ROUNDS = 2
"""Times that steps are timed in turn, of which the fastest counts: clocks of a GPU vary."""


class TrainingStep:
    """A weight step as a search makes it: forward in bf16, backward, clipping and optimizer."""

    weights = WeightOptimizer()

    def __init__(
        self,
        net: nn.Module,
        logits: Callable[[Tensor], Tensor],
        batch: tuple[Tensor, Tensor],
        optimizer: Optimizer | None = None,
    ) -> None:
        """``logits`` runs ``net`` on images; the project's own AdamW is the default."""
        self.logits, self.batch = logits, batch
        self.optimizer = optimizer or make_optimizer(net, "adamw", lr=1e-6, weight_decay=0.0)

    def __call__(self) -> None:
        """Take the step."""
        images, labels = self.batch
        with autocast(torch.bfloat16):
            loss = functional.cross_entropy(self.logits(images), labels)
        loss.backward()
        with of_those_with_gradients(self.optimizer):
            self.weights.shorten_gradients(self.optimizer)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


class StepTime(NamedTuple):
    """Time of one step, in ms."""

    whole_ms: float
    """In a row of steps."""
    host_ms: float
    """Until it was launched on an idle GPU."""

    def images_per_s(self, batch: int = AMOUNT.batch) -> float:
        """Throughput of steps of ``batch`` images."""
        return 1e3 * batch / self.whole_ms

    def __str__(self) -> str:
        return f"host {self.host_ms:.1f} of {self.whole_ms:.1f} ms"


def time_step(step: Step, num_steps: int = AMOUNT.num_steps) -> StepTime:
    """Mean time of ``num_steps`` steps after some that are not counted; the host's least time."""
    for _ in range(AMOUNT.num_warm_steps):
        step()
    synchronize()
    start = time.perf_counter()
    for _ in range(num_steps):
        step()
    synchronize()
    whole = (time.perf_counter() - start) / num_steps
    hosts = []
    for _ in range(AMOUNT.num_host_steps):
        start = time.perf_counter()
        step()
        hosts.append(time.perf_counter() - start)
        synchronize()
    return StepTime(1e3 * whole, 1e3 * min(hosts))


def time_in_turn(steps: Sequence[Step], num_steps: int = AMOUNT.num_steps) -> list[StepTime]:
    """Times of steps that are to be compared, each the least of its rounds."""
    rounds = [[time_step(step, num_steps) for step in steps] for _ in range(ROUNDS)]
    return [min(taken) for taken in zip(*rounds, strict=True)]


def kernels(step: Step) -> list[Any]:
    """The profiler's averages of all kernels of a step; of operators where there is no GPU."""
    step()
    synchronize()
    # Of one kind only: reading 50,000 operators of a warm-up path takes the profiler seconds.
    activity = ProfilerActivity.CUDA if GPU else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        step()
        synchronize()
    wanted = DeviceType.CUDA if GPU else DeviceType.CPU
    # Ranges that a program names, such as an optimizer's step, would count its kernels twice.
    return [
        event
        for event in profiled.key_averages()
        if event.device_type == wanted and not getattr(event, "is_user_annotation", False)
    ]


def describe_step(step: Step, taken: StepTime) -> str:
    """Host's share and peak memory of a step, in words."""
    return f"{taken}, {peak_memory(step):.1f} GiB"


def add_slowest_kernels(rows: Rows, label: str, step: Step, num: int = 6) -> None:
    """Rows of the kernels of a step: how many, and those that take most of it."""
    found = kernels(step)
    times = {
        event: event.self_device_time_total if GPU else event.self_cpu_time_total for event in found
    }
    whole = sum(times.values())
    rows.add(f"{label}: kernels", sum(event.count for event in found))
    rows.add(f"{label}: time of all kernels", whole / 1e3, "ms")
    for event in sorted(times, key=times.__getitem__, reverse=True)[:num]:
        rows.add(f"{label}: {event.key[:80]}", times[event] / whole, "share", f"{event.count} x")


def peak_memory(step: Step) -> float:
    """Most memory of the GPU that tensors hold at once in a step, in GiB; 0 without one."""
    if not GPU:
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    step()
    synchronize()
    return torch.cuda.max_memory_allocated(DEVICE) / 2**30
