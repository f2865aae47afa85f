"""Python program for a board that has numpy and onnxruntime, and nothing of ours.

``python onnx_on_board.py FILE THREADS RUNS`` prints the milliseconds of each run, after five that
do not count. The runner ``ssh`` sends its text along with a model.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy
import onnxruntime

WARM_UP = 5
"""Runs that find caches cold and memory unmapped."""
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}
"""Names in numpy of the types of inputs that a network for images has."""


def session_of(path: str, threads: int) -> onnxruntime.InferenceSession:
    """The model on the CPU, its operators one after another."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def example(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Random values for each input, by name; what a file leaves open, such as the batch, is 1."""
    generator = numpy.random.default_rng(0)
    feed = {}
    for one in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in one.shape]
        feed[one.name] = generator.uniform(0, 1, shape).astype(TYPES[one.type])
    return feed


def times(session: onnxruntime.InferenceSession, runs: int) -> list[float]:
    """Time of each run, in ms by the wall clock."""
    feed, found = example(session), []
    for _ in range(WARM_UP + runs):
        start = time.perf_counter()
        session.run(None, feed)
        found.append((time.perf_counter() - start) * 1e3)
    return found[WARM_UP:]


def main(words: list[str]) -> None:
    """Print the times of a file."""
    path, threads, runs = words
    found = times(session_of(path, int(threads)), int(runs))
    sys.stdout.write(" ".join(f"{ms:.6g}" for ms in found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
