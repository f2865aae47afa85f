"""Layers and networks as torch modules with fresh weights, and the programs exported from them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from supernet.cost.timed_layers import Head, StageLayer, Stem, TimedLayer
from supernet.latency.models.subject import input_shape
from supernet.network.network import ACTIVATIONS, Block, Network, initialise
from supernet.space.spec import NetSpec


def module_of(subject: TimedLayer | NetSpec) -> nn.Module:
    """The module of a layer alone or of a whole network, in evaluation mode.

    Takes images (1, 3, R, R), or for a layer a feature map (1, inputs, size, size); the head and a
    network give logits (1, classes).
    """
    if isinstance(subject, NetSpec):
        return Network(subject).eval()
    return _alone(subject).apply(initialise).eval()


def example(subject: TimedLayer | NetSpec) -> Tensor:
    """A random input of one image or one feature map, in the shape that the subject takes."""
    return torch.randn(input_shape(subject), generator=torch.Generator().manual_seed(0))


def _alone(layer: TimedLayer) -> nn.Module:
    if isinstance(layer, StageLayer):
        return Block(layer.layer, NetSpec(8, 1, (), 8, 1, layer.size, layer.activation))
    if isinstance(layer, Stem):
        conv = nn.Conv2d(3, layer.outputs, 3, layer.stride, 1, bias=False)
        return nn.Sequential(conv, *_norm(layer))
    conv = nn.Conv2d(layer.inputs, layer.outputs, 1, bias=False)
    linear = nn.Linear(layer.outputs, layer.classes)
    return nn.Sequential(conv, *_norm(layer), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def _norm(layer: Stem | Head) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(layer.outputs), ACTIVATIONS[layer.activation](True)


class XnnpackProgram(NamedTuple):
    """A program for ExecuTorch whose operators are XNNPACK's, where it has them."""

    content: bytes
    delegated: float
    """Share of the operators that XNNPACK computes; others take ExecuTorch's slow portable ones."""


def pte_program(module: nn.Module, x: Tensor) -> bytes:
    """A program for ExecuTorch and inputs like ``x``; takes seconds."""
    return xnnpack_program(module, x).content


def xnnpack_program(
    module: nn.Module, x: Tensor, constant_methods: Mapping[str, str] | None = None
) -> XnnpackProgram:
    """A program for ExecuTorch and inputs like ``x``; takes seconds.

    It also has methods that take nothing and give a text, by their names.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module, (x,))
    lowered = to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner()],
        constant_methods=dict(constant_methods) if constant_methods else None,
    )
    counted = get_delegation_info(lowered.exported_program().graph_module)
    operators = counted.delegation_by_operator.items()
    # Taking an output out of a delegate's tuple computes nothing.
    outside = sum(one.non_delegated for name, one in operators if name != "getitem")
    inside = counted.num_delegated_nodes
    return XnnpackProgram(bytes(lowered.to_executorch().buffer), inside / (inside + outside))


def xnnpack_int8(program: ExportedProgram, batches: Iterable[Tensor]) -> nn.Module:
    """An exported network in int8 as XNNPACK computes it, still a module of torch's.

    Static quantization by torchao: weights have a scale for each output channel, features one for
    the values that they take over ``batches`` of inputs.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return convert_pt2e(prepared)


def pte_int8_program(module: nn.Module, x: Tensor) -> bytes:
    """A program for ExecuTorch in int8, whose features take the values that ``x`` brings forth."""
    return pte_program(xnnpack_int8(torch.export.export(module, (x,)), [x]), x)


def tflite_program(module: nn.Module, x: Tensor) -> bytes:
    """A program for LiteRT and inputs like ``x``; takes seconds to make.

    litert-torch wants a torch older than ours: an environment of its own has it.
    """
    import litert_torch

    return bytes(litert_torch.convert(module, (x,)).model_content())
