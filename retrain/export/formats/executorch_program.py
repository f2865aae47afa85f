"""ExecuTorch: a program of XNNPACK's layers, for phones."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from retrain.export.formats.metadata import Metadata, as_text, as_values
from retrain.export.formats.shipment import Format, Quantized, Runner, Shipment, Told, one_by_one
from supernet.latency.models.torch_modules import xnnpack_int8, xnnpack_program
from supernet.latency.models.trained_graph import CALIBRATION_BATCH
from supernet.latency.this_machine import measure_pte


def write_executorch(shipment: Shipment, path: Path) -> Told:
    """An ExecuTorch program for one image, its layers delegated to XNNPACK."""
    return _write(shipment.network, shipment.side, shipment.metadata, path)


def _write(network: nn.Module, side: int, metadata: Metadata, path: Path) -> Told:
    image = torch.zeros(1, 3, side, side)
    program = xnnpack_program(network, image, constant_methods=as_text(metadata))
    path.write_bytes(program.content)
    return {"delegated_share": program.delegated}


def quantize_executorch(shipment: Shipment, floats: Path, images: Tensor) -> Quantized:
    """The network in int8, by the quantizer that latency tables are measured with."""
    return of_int8(shipment, xnnpack_int8(shipment.program(), images.split(CALIBRATION_BATCH)))


def of_int8(shipment: Shipment, network: nn.Module) -> Quantized:
    """What the program of a network in int8 is made of."""
    return Quantized(
        lambda images: (network(images),),
        lambda metadata, path: _write(network, shipment.side, metadata, path),
    )


def open_executorch(path: Path) -> Runner:
    """Open the program in ExecuTorch's runtime, which takes one image at a time."""
    from executorch.runtime import Runtime

    forward = Runtime.get().load_program(path).load_method("forward")
    return partial(one_by_one, lambda image: forward.execute([image]))


def read_executorch_metadata(path: Path) -> Metadata:
    """What the program's constant methods give."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    names = program.method_names - {"forward"}
    return as_values({name: program.load_method(name).execute([])[0] for name in names})


EXECUTORCH = Format(
    "pte",
    write_executorch,
    open_executorch,
    read_executorch_metadata,
    "executorch",
    latency=measure_pte,
    quantize=quantize_executorch,
    of_int8=of_int8,
)
