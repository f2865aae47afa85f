"""Workers: the processes that do long jobs, of this machine or of a Dask scheduler.

Either is an executor of ``concurrent.futures``. A job that a worker of a scheduler leaves undone,
since it died, is done by another.
"""

import atexit
import multiprocessing
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import forkserver, util
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, Generic, TypeVar

import torch

from supernet.command.process import keep_freed_memory
from supernet.command.stopping import leave_signals_to_parent
from supernet.errors import UserError

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J], R]
"""Does a job."""
SECONDS_TO_CONNECT = 10
LOADED_ONCE = ["torch", "pytorch_lightning", "search.evaluation.frozen_supernet"]
"""What takes seconds to load: one process does, and all others are forks of it."""
START = "forkserver" if sys.platform == "linux" else "spawn"
"""How processes start; libraries of a Mac are not made for forks, and Windows has none."""

_given: list[bytes] = []
"""What makes what does the jobs of this process of a machine; pickled."""
_made: dict[str, Work[Any, Any]] = {}
"""What does the jobs of the last call that this process has worked for, by the call's name."""


@dataclass(frozen=True)
class Workers(Generic[J, R]):
    """Processes, or workers of a cluster, that do jobs of one kind.

    Processes of this machine end with the iterator of their results, whatever ends it, and with a
    parent that was killed. A cluster's workers end the jobs that they have begun.
    """

    make_work: Callable[[], Work[J, R]]
    """Makes what does a job, once in each process; it and the jobs can be pickled."""
    processes: int
    """Jobs at a time; with one, this process does them itself."""
    cluster: str = ""
    """Address of a Dask scheduler, whose workers do the jobs in place of processes."""

    def __call__(self, jobs: Iterable[J]) -> Iterator[R]:
        """Results of jobs in the order in which they end; each job is done once.

        Raises:
            UserError: what a job raised, that its process died, or that there is no such scheduler.
        """
        with self.kept() as do:
            yield from do(jobs)

    @contextmanager
    def kept(self) -> Iterator[Callable[[Iterable[J]], Iterator[R]]]:
        """The same for several calls, by workers that keep what they have made."""
        if self.processes == 1 and not self.cluster:
            yield partial(map, self.make_work())
            return
        with self._executor() as executor:
            on_cluster = partial(_do_on_cluster, uuid.uuid4().hex, self.make_work)
            yield partial(_results, executor, on_cluster if self.cluster else _do)

    def _executor(self) -> AbstractContextManager[Executor]:
        if self.cluster:
            return _cluster(self.cluster)
        return _processes(self.processes, self.make_work)


def _results(executor: Executor, do: Work[J, R], jobs: Iterable[J]) -> Iterator[R]:
    for future in as_completed([executor.submit(do, job) for job in jobs]):
        yield future.result()


@contextmanager
def _processes(number: int, make_work: Callable[[], Work[J, R]]) -> Iterator[Executor]:
    others = set(multiprocessing.active_children())
    load_once()
    context = multiprocessing.get_context(START)
    # By value and once: tensors would go through shared memory, of which a container has little.
    begin = partial(_begin, pickle.dumps(make_work))
    executor = ProcessPoolExecutor(number, context, initializer=begin)
    try:
        yield executor
        executor.shutdown()  # they remove what they and their libraries have put into $TMPDIR
    except BrokenProcessPool:
        raise UserError(
            "a process died in the middle of its job, perhaps for want of memory: run the same"
            " command again, with fewer processes"
        ) from None
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        # It has no word for jobs that are under way.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
            process.join()


def load_once() -> None:
    """Start the process that all others are forks of, if it has not been: it loads for seconds."""
    if START == "forkserver":
        multiprocessing.set_forkserver_preload(LOADED_ONCE)
        forkserver.ensure_running()


def _begin(make_work: bytes) -> None:
    _given.append(make_work)
    # Forks of the one that has loaded end without it; libraries leave folders behind.
    util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)
    leave_signals_to_parent()
    torch.set_num_threads(1)
    keep_freed_memory()
    Thread(target=_end_with_parent, daemon=True).start()


@cache
def _own_work() -> Work[Any, Any]:
    """What does the jobs of this process, made for the first of them."""
    # The parent's own words, from the pipe whose content multiprocessing unpickles in any case.
    make: Callable[[], Work[Any, Any]] = pickle.loads(_given[0])  # noqa: S301
    return make()


def _do(job: Any) -> Any:
    return _own_work()(job)


def _end_with_parent() -> None:
    """Leave no process behind that works for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UserError("--cluster needs `pip install 'mnasnet-search[cluster]'`") from None
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers there ({error}): start one with"
            " `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
        ) from None
    with client:
        try:
            yield client.get_executor(pure=False)
        except KilledWorker as error:
            raise UserError(
                f"workers of {address} died in the middle of one job ({error}), perhaps for want of"
                " memory: run the same command again"
            ) from None


def _do_on_cluster(call: str, make_work: Callable[[], Work[J, R]], job: J) -> R:
    """Do a job in a worker of a scheduler.

    Raises:
        UserError: where another job may share the process, and thus the generator of its draws.
    """
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise UserError(
            f"worker {worker.address} has {worker.state.nthreads} threads, and a training needs a"
            " process of its own: start workers with `dask worker ADDRESS --nthreads 1`"
        )
    torch.set_num_threads(1)
    if call not in _made:
        _made.clear()
        _made[call] = make_work()
    work: Work[J, R] = _made[call]
    return work(job)
