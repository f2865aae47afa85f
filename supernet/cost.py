"""Parameters and multiply-accumulates of a NetSpec in closed form. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from supernet.spec import NetSpec
from supernet.stage import Layer, output_size


@dataclass(frozen=True)
class Cost:
    """What a network costs on any device."""

    params: int
    """Learnable parameters, batch norm and classifier included."""
    macs: int
    """Multiply-accumulates of convolutions and classifier for one image (paper: mult-adds)."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)


def conv_bn(inputs: int, outputs: int, kernel: int, size: int, groups: int = 1) -> Cost:
    """A convolution without bias and its batch norm; ``size`` is the output side in pixels."""
    weights = outputs * inputs // groups * kernel**2
    return Cost(weights + 2 * outputs, weights * size**2)


def squeeze_excite(channels: int, hidden: int) -> Cost:
    """Two 1x1 convolutions with bias on one pixel (Hu et al. 2018)."""
    if not hidden:
        return Cost(0, 0)
    return Cost(2 * channels * hidden + hidden + channels, 2 * channels * hidden)


def count_layer(layer: Layer) -> Cost:
    """Cost of one layer of a stage; shortcuts have no parameters and no convolution."""
    cost = squeeze_excite(layer.hidden, layer.se_hidden)
    if layer.op == "conv":
        return cost + conv_bn(layer.inputs, layer.outputs, layer.kernel, layer.output_size)
    hidden = layer.hidden
    if layer.op == "mbconv":
        cost += conv_bn(layer.inputs, hidden, 1, layer.size)
    cost += conv_bn(hidden, hidden, layer.kernel, layer.output_size, groups=hidden)
    return cost + conv_bn(hidden, layer.outputs, 1, layer.output_size)


def count(spec: NetSpec) -> Cost:
    """Parameters and multiply-accumulates of the whole network for one image."""
    cost = conv_bn(3, spec.stem, 3, output_size(spec.resolution, spec.stem_stride))
    for layer in spec.layers():
        cost += count_layer(layer)
    cost += conv_bn(spec.stages[-1].filters, spec.head, 1, spec.final_size)
    return cost + Cost((spec.head + 1) * spec.classes, spec.head * spec.classes)
