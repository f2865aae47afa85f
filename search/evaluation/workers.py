"""Jobs in processes of one thread each, dealt out by one parent."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

import torch

from supernet.command.process import keep_freed_memory
from supernet.errors import UserError

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J, Callable[[], object]], R]
"""Does a job, and calls its second argument every now and then."""


def work_off(make_work: Callable[[], Work[J, R]], jobs: Iterable[J], processes: int) -> Iterator[R]:
    """Results of jobs in the order in which they end; each job is done once.

    The processes end with this iterator, whatever ends it, and soon after a parent that was killed.

    Args:
        make_work: makes what does a job, once in each process; it and the jobs can be pickled.
        jobs: what to do.
        processes: how many at a time; with one, this process does them itself.

    Raises:
        UserError: what a job raised, or that its process died.
    """
    if processes == 1:
        work = make_work()
        for job in jobs:
            yield work(job, lambda: None)
        return
    yield from _deal(make_work, iter(jobs), processes)


def _deal(make_work: Callable[[], Work[J, R]], jobs: Iterator[J], processes: int) -> Iterator[R]:
    context = multiprocessing.get_context("spawn")
    workers: dict[Any, Any] = {}
    try:
        for job in itertools.islice(jobs, processes):
            ours, theirs = context.Pipe()
            workers[ours] = context.Process(target=_serve, args=(make_work, theirs), daemon=True)
            workers[ours].start()
            # A worker's death is seen here only when nobody else holds its end.
            theirs.close()
            ours.send(job)
        while workers:
            for connection in wait(list(workers)):
                result = _receive(cast(Connection, connection))
                following = next(jobs, None)
                cast(Connection, connection).send(following)
                if following is None:
                    workers.pop(connection).join()
                yield result
    finally:
        for process in workers.values():
            process.terminate()
            process.join()


def _receive(connection: Connection) -> Any:
    try:
        result = connection.recv()
    except (EOFError, ConnectionError):
        raise UserError(
            "a process died in the middle of its job, perhaps for want of memory: run the same"
            " command again, with fewer --processes"
        ) from None
    if isinstance(result, BaseException):
        raise result
    return result


def _serve(make_work: Callable[[], Work[Any, Any]], connection: Connection) -> None:
    """The life of a worker."""
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        work = make_work()
        while (job := connection.recv()) is not None:
            connection.send(work(job, _leave_without_parent))
    except (EOFError, BrokenPipeError):
        sys.exit()
    except UserError as error:
        connection.send(error)


def _leave_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent and not parent.is_alive():
        os._exit(1)
