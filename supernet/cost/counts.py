"""Parameters and multiply-accumulates of a NetSpec in closed form. No torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, output_size


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates.

    Examples:
        >>> Cost(10, 100) + Cost(1, 20)
        Cost(params=11, macs=120)
    """

    params: int
    """Learnable parameters, batch norm and classifier included."""
    macs: int
    """Multiply-accumulates of convolutions and classifier for one image (paper: mult-adds)."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)


def conv_bn(inputs: int, outputs: int, kernel: int, size: int, groups: int = 1) -> Cost:
    """A convolution without bias and its batch norm; ``size`` is the output side in pixels.

    Examples:
        >>> conv_bn(3, 32, kernel=3, size=112)
        Cost(params=928, macs=10838016)
    """
    weights = outputs * inputs // groups * kernel**2
    return Cost(weights + 2 * outputs, weights * size**2)


def count_squeeze_excite(channels: int, hidden: int) -> Cost:
    """Two 1x1 convolutions with bias on one pixel (Hu et al. 2018)."""
    if not hidden:
        return Cost(0, 0)
    return Cost(2 * channels * hidden + hidden + channels, 2 * channels * hidden)


@functools.lru_cache(maxsize=4096)
def count_layer(layer: Layer) -> Cost:
    """Cost of one layer of a stage; shortcuts have no parameters and no convolution.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> first = next(published_spec("mnasnet_a1").layers())
        >>> count_layer(first)
        Cost(params=896, macs=10035200)
    """
    cost = count_squeeze_excite(layer.hidden, layer.se_hidden)
    if layer.op == "conv":
        return cost + conv_bn(layer.inputs, layer.outputs, layer.kernel, layer.output_size)
    hidden = layer.hidden
    if layer.op == "mbconv":
        cost += conv_bn(layer.inputs, hidden, 1, layer.size)
    cost += conv_bn(hidden, hidden, layer.kernel, layer.output_size, groups=hidden)
    return cost + conv_bn(hidden, layer.outputs, 1, layer.output_size)


def count_stem_and_head(spec: NetSpec) -> Cost:
    """Cost of what is in no stage, the classifier included."""
    stem = conv_bn(3, spec.stem, 3, output_size(spec.resolution, spec.stem_stride))
    head = conv_bn(spec.stages[-1].filters, spec.head, 1, spec.final_size)
    return stem + head + Cost((spec.head + 1) * spec.classes, spec.head * spec.classes)


def count(spec: NetSpec) -> Cost:
    """Parameters and multiply-accumulates of the whole network for one image.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> count(published_spec("mnasnet_a1"))
        Cost(params=3887038, macs=311579072)
    """
    return sum(map(count_layer, spec.layers()), count_stem_and_head(spec))


BYTES = 4
"""Bytes of a float32."""
NODE_BYTES = 2000
"""Bytes of a node with its name and origin, as torch's exporter writes it; measured on 8 networks
of 68 to 250 nodes: 1,960 to 2,080."""
_SQUEEZE_NODES, _STEM_AND_HEAD_NODES = 6, 7


def layer_memory(layer: Layer) -> int:
    """Bytes of feature maps that live at once while one image passes a layer.

    Ops run one after another in the order of ``network.Block``, batch norms are folded and
    activations work in place; an op holds its input, its output, and the layer's input where a
    shortcut still needs it (the peak of MCUNet, Lin et al. 2020, sec. 3). Weights do not count.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> layer_memory(next(published_spec("mnasnet_a1").layers()))
        3211264
    """
    inputs = layer.inputs * layer.size**2
    outputs = layer.outputs * layer.output_size**2
    kept = 0 if layer.skip == "none" else inputs
    wide = layer.hidden * layer.output_size**2
    gated = 2 * wide + kept if layer.se else 0
    shortcut = 0 if layer.skip == "none" else kept + 2 * outputs
    if layer.op == "conv":
        return BYTES * max(inputs + outputs, gated, shortcut)
    steps = [wide + outputs + kept, gated, shortcut]
    if layer.op == "mbconv":
        expanded = layer.hidden * layer.size**2
        steps += [inputs + expanded, expanded + wide + kept]
    else:
        steps.append(inputs + wide)
    return BYTES * max(steps)


def stem_and_head_memory(spec: NetSpec) -> int:
    """Bytes of feature maps that live at once while one image passes stem or head."""
    side = output_size(spec.resolution, spec.stem_stride)
    stem = 3 * spec.resolution**2 + spec.stem * side**2
    head = (spec.stages[-1].filters + spec.head) * spec.final_size**2
    return BYTES * max(stem, head)


def layer_bytes(layer: Layer) -> int:
    """Bytes that a layer adds to an exported ONNX file: float32 weights and its nodes."""
    norms = {"conv": 0, "sepconv": layer.hidden, "mbconv": 2 * layer.hidden}[layer.op]
    nodes = {"conv": 2, "sepconv": 3, "mbconv": 5}[layer.op]
    nodes += _SQUEEZE_NODES if layer.se else 0
    nodes += {"none": 0, "identity": 1, "pool": 2 + (layer.inputs != layer.outputs)}[layer.skip]
    # A folded batch norm leaves a bias where it had a scale and a shift.
    return BYTES * (count_layer(layer).params - norms - layer.outputs) + NODE_BYTES * nodes


def stem_and_head_bytes(spec: NetSpec) -> int:
    """Bytes of an exported ONNX file that are no layer's."""
    params = count_stem_and_head(spec).params - spec.stem - spec.head
    return BYTES * params + NODE_BYTES * _STEM_AND_HEAD_NODES
