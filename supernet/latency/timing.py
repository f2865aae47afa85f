"""The measuring process: loads ONNX models and times single runs of them on one thread.

``supernet.latency.device`` starts it as a process of its own, since what makes timings repeatable
must be set before a process starts: huge pages for malloc and one OpenMP thread. Requests arrive
on stdin and answers leave on stdout, one JSON object a line:

* ``{"load": [{"bytes": n, "shape": [1, 3, 224, 224]}, ...]}`` followed by the models themselves;
  ``"path"`` instead of ``"bytes"`` names a file. Replaces what was loaded before.
* ``{"visit": [i, j, ...], "runs": n}`` runs the models of these numbers in this order, each ``n``
  times in a row, and answers with the milliseconds of every run.

Times are CPU times of the one thread that computes: on a shared machine the wall clock also counts
the time in which other processes ran (measured at three times more runnable processes than cores:
whole networks repeat within 2 %, by wall clock within 20 %).
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from typing import Any, BinaryIO

import numpy as np
import onnxruntime

WARM_UP_RUNS = 2
"""The first run allocates; the second is the first ordinary one."""


class Session:
    """One loaded model with its input bound, so that a run copies nothing."""

    def __init__(self, model: bytes | str, shape: list[int]) -> None:
        """Load a model of one input and warm it up.

        Args:
            model: a serialised model or the path of a file.
            shape: of the input.
        """
        self.session = onnxruntime.InferenceSession(
            model, _options(), providers=["CPUExecutionProvider"]
        )
        (feed,) = self.session.get_inputs()
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input(
            feed.name, onnxruntime.OrtValue.ortvalue_from_numpy(images)
        )
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)
        for _ in range(WARM_UP_RUNS):
            self.run()

    def run(self) -> float:
        """CPU time of one run, in ms."""
        start = time.thread_time_ns()
        self.session.run_with_iobinding(self.binding)
        return (time.thread_time_ns() - start) / 1e6


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return options


def load(models: list[dict[str, Any]], stream: BinaryIO) -> list[Session]:
    """Load what a request lists, the bytes from ``stream``."""
    contents = [m["path"] if "path" in m else stream.read(m["bytes"]) for m in models]
    return [
        Session(content, model["shape"]) for content, model in zip(contents, models, strict=True)
    ]


def visit(sessions: list[Session], order: list[int], runs: int) -> list[list[float]]:
    """Times in ms of ``runs`` runs in a row of each model of ``order``."""
    return [[sessions[number].run() for _ in range(runs)] for number in order]


def main() -> None:
    """Answer requests until stdin ends."""
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    sessions: list[Session] = []
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        if "load" in request:
            # The old models go before the new ones come: both at once need twice the memory.
            sessions.clear()
            sessions = load(request["load"], sys.stdin.buffer)
            answer: list[Any] = []
        else:
            answer = visit(sessions, request["visit"], request["runs"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
