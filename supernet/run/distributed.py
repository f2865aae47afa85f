"""Ranks and steps: what a process is a function of, and sums over all of them."""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from supernet.errors import UserError

Built = TypeVar("Built")
Item = TypeVar("Item")


def first_on_rank_zero(trainer: pl.Trainer, build: Callable[[], Built]) -> Built:
    """Result of ``build``; other ranks call it after rank 0, whose cached work they then find."""
    if trainer.is_global_zero:
        built = build()
    trainer.strategy.barrier("rank 0 first")
    return built if trainer.is_global_zero else build()


def step_seed(*numbers: int) -> int:
    """Mix (seed, step, rank, ...) into one 63-bit seed (splitmix64)."""
    mask, state = (1 << 64) - 1, 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """A context in which each process computes as if there were no others: all compute the same."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def has_peers() -> bool:
    """Whether other processes take part."""
    started = distributed.is_available() and distributed.is_initialized()
    return started and not _ALONE.get()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise sum over all processes; the tensor itself where there is only one."""
    if not has_peers():
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


class HostExchange:
    """Numbers that processes exchange in host memory, so that none of them waits for its device.

    All processes make it together.
    """

    def __init__(self) -> None:
        self._group: Any = None
        if has_peers() and distributed.get_backend() != "gloo":
            self._group = distributed.new_group(backend="gloo")

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number over all processes: what one of them decides, all do."""
        if not has_peers():
            return list(numbers)
        largest = torch.tensor(numbers)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=self._group)
        return [int(number) for number in largest.numpy()]


def least_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise least of all processes; the tensor itself where there is only one."""
    if not has_peers():
        return tensor
    least = tensor.clone()
    distributed.all_reduce(least, distributed.ReduceOp.MIN)
    return least


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise mean over all processes; the tensor itself where there is only one."""
    total = sum_over_ranks(tensor)
    return tensor if total is tensor else total / distributed.get_world_size()


def gather_rows(tensor: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; every process must give as many."""
    if not has_peers():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def gather_objects(mine: list[Item]) -> list[Item]:
    """The items of all processes in the order of their ranks, on each of them."""
    if not has_peers():
        return mine
    parts: list[list[Item]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, mine)
    return [item for part in parts for item in part]


def built_by_rank_zero(build: Callable[[], Built]) -> Built:
    """What rank 0 builds, which can be pickled, on every process; so is the error that it raises.

    Raises:
        UserError: rank 0's, on all of them.
    """
    if not has_peers():
        return build()
    told: list[Any] = []
    if distributed.get_rank() == 0:
        try:
            told = [build()]
        except UserError as error:
            told = [error]
    (built,) = told_by_rank_zero(told)
    if isinstance(built, UserError):
        raise built
    return built


def check_ranks_agree(held: Mapping[str, str]) -> None:
    """Refuse a run of which a process holds something else than rank 0.

    What each can compute by itself, such as the networks of all others, it computes. That holds
    only where all have the same code and images: another would train something else in silence.

    Args:
        held: short names of what this process has, by what it is, such as ``images``.

    Raises:
        UserError: on every process, naming the first that differs, its machine, and what differs.
    """
    (first, theirs), *others = gather_objects([(platform.node(), dict(held))])
    for rank, (node, own) in enumerate(others, 1):
        for what, value in own.items():
            if value != theirs[what]:
                raise UserError(
                    f"rank {rank} on {node} has other {what} ({value}) than rank 0 on {first}"
                    f" ({theirs[what]}): give every machine the same"
                )


def told_by_rank_zero(items: list[Item]) -> list[Item]:
    """What rank 0 holds, on every process: they may differ in the last digit of what led to it."""
    # As one object: their number may differ too.
    told = [items]
    if has_peers():
        distributed.broadcast_object_list(told, src=0)
    return told[0]
