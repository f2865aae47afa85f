"""Timed layers: what a network's latency is the sum of, and all those of a space. No torch."""

from dataclasses import dataclass

from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, output_size


@dataclass(frozen=True)
class Stem:
    """The first 3x3 convolution with its activation."""

    outputs: int
    stride: int
    size: int
    """Side of the image, in pixels."""
    activation: str

    @property
    def inputs(self) -> int:
        """Colour channels."""
        return 3

    @property
    def key(self) -> str:
        """The layer's name in a latency table."""
        return f"stem_k3_s{self.stride}_o{self.outputs}_px{self.size}_{self.activation}"


@dataclass(frozen=True)
class StageLayer:
    """One layer of a stage with the activation of its network."""

    layer: Layer
    activation: str

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.layer.inputs

    @property
    def size(self) -> int:
        """Side of the input, in pixels."""
        return self.layer.size

    @property
    def key(self) -> str:
        """The layer's name in a latency table."""
        layer = self.layer
        op = f"mbconv{layer.expand}" if layer.op == "mbconv" else layer.op
        return (
            f"{op}_k{layer.kernel}_s{layer.stride}_i{layer.inputs}_o{layer.outputs}"
            f"_se{layer.se:g}_{layer.skip}_px{layer.size}_{self.activation}"
        )


@dataclass(frozen=True)
class Head:
    """The last 1x1 convolution with its activation, global pooling and the classifier."""

    inputs: int
    outputs: int
    classes: int
    size: int
    """Side of the feature map, in pixels."""
    activation: str

    @property
    def key(self) -> str:
        """The layer's name in a latency table."""
        return (
            f"head_i{self.inputs}_o{self.outputs}_c{self.classes}_px{self.size}_{self.activation}"
        )


TimedLayer = Stem | StageLayer | Head


def stem_and_head(spec: NetSpec) -> tuple[Stem, Head]:
    """The two timed layers of a network that no stage holds."""
    inputs = spec.stages[-1].filters
    return (
        Stem(spec.stem, spec.stem_stride, spec.resolution, spec.activation),
        Head(inputs, spec.head, spec.classes, spec.final_size, spec.activation),
    )


def timed_layers(spec: NetSpec) -> list[TimedLayer]:
    """The timed layers of a network, stem and head first; alike ones are listed each time.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> layers = timed_layers(published_spec("mnasnet_a1"))
        >>> len(layers), layers[0].key
        (18, 'stem_k3_s2_o32_px224_relu')
    """
    return [*stem_and_head(spec), *(StageLayer(layer, spec.activation) for layer in spec.layers())]


def block_sizes(space: MnasSpace) -> list[int]:
    """Side of the feature map that enters each block, and last the one that enters the head."""
    sizes = [output_size(space.resolution, space.stem_stride)]
    for base in space.base:
        sizes.append(output_size(sizes[-1], base.stride))
    return sizes


def timed_layers_of_space(space: MnasSpace) -> list[TimedLayer]:
    """Every distinct timed layer of every network of the space, in a fixed order."""
    found: dict[TimedLayer, None] = {}
    inputs, sizes = {space.stem_filters}, block_sizes(space)
    for group in space.groups:
        choices = list(space.block_choices(group[0]))
        entering = [sorted(inputs)] * len(choices)
        for block in group:
            stages = [space.stage(block, choice) for choice in choices]
            pairs = zip(stages, entering, strict=True)
            for stage, width in dict.fromkeys((one, n) for one, widths in pairs for n in widths):
                layers = stage.layers(width, sizes[block])
                found |= dict.fromkeys(StageLayer(layer, "relu") for layer in layers)
            entering = [[stage.filters] for stage in stages]
        inputs = {stage.filters for stage in stages}
    found[Stem(space.stem_filters, space.stem_stride, space.resolution, "relu")] = None
    heads = [Head(one, space.head, space.classes, sizes[-1], "relu") for one in sorted(inputs)]
    return [*found, *heads]
