"""The loop of a measuring process: requests arrive on stdin, answers leave on stdout.

One JSON object a line:

* ``{"load": [...]}`` followed by as many bytes as its entries say. Replaces what was loaded.
* ``{"visit": [i, j, ...], "runs": n}`` runs the subjects of these numbers in this order, each
  ``n`` times in a row, and answers with the milliseconds of every run.

Times are CPU times of the one thread that computes: on a shared machine the wall clock also counts
the time in which other processes ran (measured at three times more runnable processes than cores:
whole networks repeat within 2 %, by wall clock within 20 %). With several threads they are of the
wall clock, for no clock counts what a thread waits for the others.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

Run = Callable[[], object]
"""One run of a loaded subject, to its end."""
Timer = Callable[[Run], float]
"""Milliseconds of one run."""
Load = Callable[[list[dict[str, Any]], BinaryIO], Sequence[Run]]
"""From the entries of a load request and the stream of what follows it, what can be run."""

WARM_UP_RUNS = 2
"""The first run allocates; the second is the first ordinary one."""


def clock_of(threads: int) -> str:
    """The clock whose times are the least noisy: ``cpu`` or ``wall``."""
    return "cpu" if threads == 1 else "wall"


def serve(load: Load, clock: str, timer: Timer | None = None) -> None:
    """Answer requests until stdin ends.

    Args:
        load: what a load request does.
        clock: ``cpu`` or ``wall``.
        timer: of one run in ms, where neither clock can tell.
    """
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    timed = timer or _timer(time.thread_time_ns if clock == "cpu" else time.perf_counter_ns)
    # A runtime that prints must not print into the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loaded: list[Run] = []
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        answer: list[Any] = []
        if "load" in request:
            # The old ones go before the new ones come: both at once need twice the memory.
            loaded.clear()
            loaded.extend(load(request["load"], sys.stdin.buffer))
            for run in loaded:
                for _ in range(WARM_UP_RUNS):
                    run()
        else:
            answer = [
                [timed(loaded[number]) for _ in range(request["runs"])]
                for number in request["visit"]
            ]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _timer(now: Callable[[], int]) -> Timer:
    def timed(run: Run) -> float:
        start = now()
        run()
        return (now() - start) / 1e6

    return timed
