"""The process in which a runtime measures: ``python -m ... RUNTIME THREADS [DEVICE PRECISION]``.

Requests arrive on stdin, answers leave on stdout, one JSON object a line:

* ``{"load": [...]}`` replaces what was loaded by what its entries describe.
* ``{"visit": [i, j, ...], "runs": n}`` runs the subjects of these numbers in this order, each
  ``n`` times in a row, and answers with the milliseconds of every run.

Times are CPU times of the one thread that computes: on a shared machine the wall clock also counts
the time in which other processes ran (measured at three times more runnable processes than cores:
whole networks repeat within 2 %, by wall clock within 20 %). With several threads they are of the
wall clock, for no clock counts what a thread waits for the others.

Each runtime is imported by the function that serves it, so that no other one lies in the process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from supernet.command.stopping import leave_signals_to_parent

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[[], object]
"""One run of a loaded subject, to its end."""
Timer = Callable[[Run], float]
"""Milliseconds of one run."""
Open = Callable[[dict[str, Any]], Run]
"""From an entry of a load request, what can be run."""

WARM_UP_RUNS = 2
"""The first run allocates; the second is the first ordinary one."""
MOST_TRIES = 100
"""Runs by a clock that stands still, before it is taken for one that never moves."""
CAPTURE_RUNS = 3
"""Runs on a side stream before a CUDA graph is captured, as torch asks for."""


def clock_of(threads: int) -> str:
    """The clock whose times are the least noisy: ``cpu`` or ``wall``."""
    return "cpu" if threads == 1 else "wall"


def serve(open_subject: Open, timer: Timer) -> None:
    """Answer requests until stdin ends."""
    leave_signals_to_parent()
    gc.disable()
    # A runtime that prints must not print into the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loaded: list[Run] = []
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        answer: list[list[float]] = []
        if "load" in request:
            # The old ones go before the new ones come: both at once need twice the memory.
            loaded.clear()
            loaded.extend(map(open_subject, request["load"]))
            for run in loaded:
                for _ in range(WARM_UP_RUNS):
                    run()
        else:
            answer = [
                [timer(loaded[number]) for _ in range(request["runs"])]
                for number in request["visit"]
            ]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def cpu_timer(threads: int) -> Timer:
    """What times a run on the CPU, by the clock of ``clock_of``.

    A run is repeated where that clock stood still, as a virtual machine's may for a moment.
    """
    now = time.thread_time_ns if clock_of(threads) == "cpu" else time.perf_counter_ns

    def once(run: Run) -> float:
        start = now()
        run()
        return (now() - start) / 1e6

    def timed(run: Run) -> float:
        tries = (once(run) for _ in range(MOST_TRIES))
        return next(filter(None, tries), 0.0)

    return timed


def serve_onnxruntime(threads: int) -> None:
    """Serve ONNX Runtime on the CPU; an entry has a ``model`` in base64 or its ``path``."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3

    def open_model(entry: dict[str, Any]) -> Run:
        """A model of one input with that input bound, so that a run copies nothing."""
        model = entry["path"] if "path" in entry else b64decode(entry["model"])
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (feed,) = session.get_inputs()
        images = np.random.default_rng(0).standard_normal(entry["shape"], np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input(feed.name, onnxruntime.OrtValue.ortvalue_from_numpy(images))
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return lambda: session.run_with_iobinding(binding)

    serve(open_model, cpu_timer(threads))


def serve_executorch(threads: int) -> None:
    """Serve ExecuTorch with XNNPACK; an entry has the ``path`` of a program."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    # All cores would take part otherwise; the runtime has no public name for it.
    portable_lib._unsafe_reset_threadpool(threads)

    def open_program(entry: dict[str, Any]) -> Run:
        program = Runtime.get().load_program(entry["path"])
        method = program.load_method("forward")
        x = torch.randn(entry["shape"], generator=torch.Generator().manual_seed(0))
        # The method borrows the program's memory: both must live as long as the run.
        return lambda: (program, method.execute([x]))

    serve(open_program, cpu_timer(threads))


def serve_torch(threads: int, device: str, precision: str) -> None:
    """Serve torch; an entry is what ``subject.to_plain`` makes.

    On the CPU it runs eagerly. On a GPU each subject is captured as a CUDA graph, as a deployed
    network would be, and timed by CUDA events: eager launches of small kernels would time Python.
    """
    import torch

    from supernet.latency.models.subject import from_plain
    from supernet.latency.models.torch_modules import example, module_of

    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    layout, on_gpu = torch.channels_last, device == "cuda"

    def open_subject(entry: dict[str, Any]) -> Run:
        subject = from_plain(entry)
        network = module_of(subject).to(device, dtype).to(memory_format=layout)
        x = example(subject).to(device, dtype, memory_format=layout)
        return _captured(network, x) if on_gpu else lambda: network(x)

    with torch.inference_mode():
        serve(open_subject, _gpu_ms if on_gpu else cpu_timer(threads))


def _captured(network: nn.Module, x: Tensor) -> Run:
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_RUNS):
            network(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x)

    def replay() -> tuple[nn.Module, Tensor]:
        graph.replay()
        # A graph does not own what it reads: it must live as long as this function.
        return network, x

    return replay


def _gpu_ms(run: Run) -> float:
    """Milliseconds of one run on the GPU, between two events on its stream."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


SERVERS: dict[str, Callable[..., None]] = {
    "onnxruntime": serve_onnxruntime,
    "torch": serve_torch,
    "executorch": serve_executorch,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
