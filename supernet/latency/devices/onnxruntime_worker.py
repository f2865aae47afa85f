"""The measuring process of ONNX Runtime on the CPU: ``python -m ... THREADS``."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import numpy as np
import onnxruntime

from supernet.latency.devices.worker_loop import Run, clock_of, serve


def load(entries: list[dict[str, Any]], stream: BinaryIO, threads: int) -> list[Run]:
    """Open models: ``bytes`` of an entry come from the stream, ``path`` names a file."""
    contents = [one["path"] if "path" in one else stream.read(one["bytes"]) for one in entries]
    return [
        _open(content, entry["shape"], threads)
        for content, entry in zip(contents, entries, strict=True)
    ]


def _open(model: bytes | str, shape: list[int], threads: int) -> Run:
    """A model of one input with that input bound, so that a run copies nothing."""
    session = onnxruntime.InferenceSession(
        model, _options(threads), providers=["CPUExecutionProvider"]
    )
    (feed,) = session.get_inputs()
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(feed.name, onnxruntime.OrtValue.ortvalue_from_numpy(images))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return options


if __name__ == "__main__":
    THREADS = int(sys.argv[1])
    serve(lambda entries, stream: load(entries, stream, THREADS), clock_of(THREADS))
