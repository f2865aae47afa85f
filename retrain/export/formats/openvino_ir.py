"""OpenVINO: a folder with its graph, ``network.xml``, and its weights, ``network.bin``."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from retrain.export.formats.metadata import Metadata, as_text, as_values
from retrain.export.formats.onnx_file import write_onnx
from retrain.export.formats.shipment import Format, Runner, Shipment

FILE = "network.xml"
SECTION = "network"
"""What the graph keeps its metadata under."""
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
"""OpenVINO computes in bfloat16 on CPUs that have it unless it is told otherwise."""
WARM_UP_RUNS, TIMED_RUNS = 10, 100


def write_openvino(shipment: Shipment, path: Path) -> None:
    """A graph for any batch size, in float32; by way of ONNX where operators are our own."""
    import openvino

    if shipment.operators:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            write_onnx(shipment, Path(folder) / "network.onnx")
            model = openvino.convert_model(Path(folder) / "network.onnx")
    else:
        model = openvino.convert_model(shipment.program())
    model.input(0).set_names({"images"})
    for output, name in zip(model.outputs, shipment.outputs, strict=True):
        output.set_names({name})
    for name, text in as_text(shipment.metadata).items():
        model.set_rt_info(text, [SECTION, name])
    path.mkdir()
    openvino.save_model(model, path / FILE, compress_to_fp16=False)


def _compiled(path: Path, images: int | None = None, side: int = 0) -> Any:
    """The folder's network for so many images, or any number of them.

    Raises:
        ValueError: when OpenVINO cannot read it.
    """
    import openvino

    core = openvino.Core()
    try:
        model = core.read_model(path / FILE)
        if images:
            model.reshape([images, 3, side, side])
        return core.compile_model(model, "CPU", EXACT)
    except RuntimeError as error:
        raise ValueError(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from None


def open_openvino(path: Path) -> Runner:
    """Open the folder on the CPU, in float32."""
    compiled = _compiled(path)
    return lambda images: tuple(map(torch.from_numpy, compiled(images.numpy()).values()))


def read_openvino_metadata(path: Path) -> Metadata:
    """What the graph keeps as runtime information."""
    import openvino

    return as_values(openvino.Core().read_model(path / FILE).get_rt_info([SECTION]).value)


def measure_openvino(path: Path, side: int) -> float:
    """CPU time of one image in ms, the median of ``TIMED_RUNS`` runs on one thread.

    It is of a graph for exactly one image, which is faster than one for any number.
    """
    request = _compiled(path, 1, side).create_infer_request()
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).numpy()
    times = []
    for _ in range(WARM_UP_RUNS + TIMED_RUNS):
        start = time.process_time_ns()
        request.infer([image])
        times.append((time.process_time_ns() - start) / 1e6)
    return statistics.median(times[WARM_UP_RUNS:])


OPENVINO = Format(
    "openvino",
    write_openvino,
    open_openvino,
    read_openvino_metadata,
    "openvino",
    latency=measure_openvino,
    suppresses=True,
)
