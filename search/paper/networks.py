"""Given networks of an experiment: published ones, changed, scaled, and made small. No torch."""

import dataclasses
import math
from dataclasses import dataclass

from supernet.errors import UserError, check_range
from supernet.space.published import published_spec
from supernet.space.spec import NetSpec
from supernet.space.stage import make_divisible

PAPER_SIZE = 224
"""Side of the paper's images, px, of which other sizes are a share."""


@dataclass(frozen=True)
class Layers:
    """What all layers of a network become, at its depths and widths; None leaves them as they are.

    Raises:
        UserError: naming the value that is out of range.
    """

    expand: int | None = None
    """Hidden width over input width: 1 makes separable convolutions, more inverted bottlenecks."""
    kernel: int | None = None
    """Side of the depthwise kernels."""
    se: float | None = None
    """Squeeze-and-excitation width over the layer's input width; 0 for none."""

    def __post_init__(self) -> None:
        check_range("layers.", self, "expand", "kernel", least=1)
        check_range("layers.", self, "se", least=0)

    def of(self, spec: NetSpec) -> NetSpec:
        """A network of these layers.

        Raises:
            UserError: when it describes none.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> changed = Layers(expand=3, kernel=5, se=0.0).of(published_spec("mnasnet_a1"))
            >>> changed.block_strings()[:2]
            ['r1_k5_s11_e3_i32_o16_noskip', 'r2_k5_s22_e3_i16_o24']
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.expand:
            given["op"] = "mbconv" if self.expand > 1 else "sepconv"
        stages = tuple(dataclasses.replace(stage, **given) for stage in spec.stages)
        return dataclasses.replace(spec, stages=stages).checked()


@dataclass(frozen=True)
class Smaller:
    """How published networks become small enough for images of a few pixels.

    They keep ops, kernels, expansions and squeezes, and the proportions of widths and depths.

    Raises:
        UserError: naming the value that is out of range.
    """

    width: float = 1.0
    """Multiplier of all widths but the head's."""
    depth: float = 1.0
    """Multiplier of the depths, which are rounded up."""
    divisor: int = 8
    """Widths are rounded to its multiples."""
    head: int = 1280
    """Channels of the last convolution."""
    strides: tuple[int, ...] = ()
    """Stride of each stage; empty: as published."""

    def __post_init__(self) -> None:
        check_range("smaller.", self, "width", "depth", above=0, most=1)
        check_range("smaller.", self, "divisor", "head", "strides", least=1)

    def of(self, spec: NetSpec, width: float = 1.0) -> NetSpec:
        """A published network made small, at a width multiplier of the paper's.

        Raises:
            UserError: when it describes none, or has other stages than there are strides.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> small = Smaller(width=0.25, depth=0.5, divisor=4, head=256)
            >>> small.of(published_spec("mnasnet_a1"), width=0.5).block_strings()[:3]
            ['r1_k3_s11_e1_i4_o4_noskip', 'r1_k3_s22_e6_i4_o4', 'r2_k5_s22_e3_i4_o8_se0.25']
        """

        def narrow(channels: int) -> int:
            return make_divisible(channels * self.width * width, self.divisor)

        strides = self.strides or tuple(stage.stride for stage in spec.stages)
        if len(strides) != len(spec.stages):
            raise UserError(
                f"smaller.strides are {len(strides)}, and the network has {len(spec.stages)}"
                " stages: give one for each"
            )
        stages = tuple(
            dataclasses.replace(
                stage,
                filters=narrow(stage.filters),
                repeats=math.ceil(stage.repeats * self.depth),
                stride=stride,
            )
            for stage, stride in zip(spec.stages, strides, strict=True)
        )
        return dataclasses.replace(
            spec, stem=narrow(spec.stem), stages=stages, head=self.head
        ).checked()


def given_network(name: str, layers: Layers, width: float, smaller: Smaller | None) -> NetSpec:
    """A published network of changed layers, at a width multiplier, and small if that is told.

    Raises:
        UserError: when there is none of this name, or the result describes no network.
    """
    spec = layers.of(published_spec(name))
    return smaller.of(spec, width) if smaller else spec.scaled(width)


def at_size(size: int, resolution: int) -> int:
    """Side in px of what the paper calls ``size``, where its 224 px are ``resolution``.

    Examples:
        >>> [at_size(size, 21) for size in (224, 192, 160, 128, 96)]
        [21, 18, 15, 12, 9]
    """
    return round(size * resolution / PAPER_SIZE)
