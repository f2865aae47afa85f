"""NetSpec: a concrete network as data, from stem to classifier. No torch.

A NetSpec is more general than the search space, so that the published networks, whose widths lie
outside it, are NetSpecs too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from supernet.errors import UserError

OPS = ("conv", "sepconv", "mbconv")
SKIPS = ("none", "identity", "pool")


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of ``divisor``, losing at most 10 % (MobileNetV2)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def output_size(size: int, stride: int) -> int:
    """Side of the output of a padded convolution or pooling of odd kernel, in pixels."""
    return (size - 1) // stride + 1


@dataclass(frozen=True)
class Layer:
    """One layer of a stage, with everything that its weights, cost and latency depend on."""

    op: str
    kernel: int
    expand: int
    """Hidden width over input width of an mbconv; 1 for the other ops."""
    se: float
    """Squeeze-and-excitation width over the layer's input width; 0 is off."""
    skip: str
    """The shortcut that acts on this layer: none, identity or pool."""
    inputs: int
    outputs: int
    stride: int
    size: int
    """Side of the input, in pixels."""

    @property
    def hidden(self) -> int:
        """Channels that the depthwise convolution (or the dense one) works on."""
        return self.outputs if self.op == "conv" else self.inputs * self.expand

    @property
    def se_hidden(self) -> int:
        """Channels of the squeeze: at least 1; 0 without squeeze-and-excitation."""
        return max(1, int(self.inputs * self.se)) if self.se else 0

    @property
    def output_size(self) -> int:
        """Side of the output, in pixels."""
        return output_size(self.size, self.stride)


@dataclass(frozen=True)
class Stage:
    """``repeats`` alike layers; only the first strides or changes the width (MnasNet, sec. 4.1)."""

    op: str
    kernel: int
    expand: int
    se: float
    skip: str
    filters: int
    repeats: int
    stride: int

    def block_string(self, inputs: int) -> str:
        """Spell the stage in the official grammar, with our ``conv`` and ``pool`` tokens."""
        tokens = [f"r{self.repeats}", f"k{self.kernel}", f"s{self.stride}{self.stride}"]
        tokens += [f"e{self.expand}", f"i{inputs}", f"o{self.filters}"]
        tokens += [f"se{self.se:g}"] if self.se else []
        tokens += {"none": ["noskip"], "pool": ["pool"], "identity": []}[self.skip]
        tokens += ["conv"] if self.op == "conv" else []
        return "_".join(tokens)


@dataclass(frozen=True)
class NetSpec:
    """A network: stem 3x3 convolution, stages, 1x1 head convolution, pooling, classifier."""

    stem: int
    stem_stride: int
    stages: tuple[Stage, ...]
    head: int
    classes: int
    resolution: int
    """Side of the square input, in pixels."""
    activation: str = "relu"
    bn_eps: float = 1e-3
    bn_momentum: float = 0.01

    def stage_layers(self) -> Iterator[list[Layer]]:
        """The layers of each stage, in order; a skip that cannot act on a layer is ``none``."""
        inputs, size = self.stem, output_size(self.resolution, self.stem_stride)
        for stage in self.stages:
            layers = []
            for index in range(stage.repeats):
                stride = stage.stride if index == 0 else 1
                fits = stride == 1 and inputs == stage.filters
                skip = "none" if stage.skip == "identity" and not fits else stage.skip
                layers.append(
                    Layer(
                        stage.op, stage.kernel, stage.expand, stage.se, skip,
                        inputs, stage.filters, stride, size,
                    )
                )  # fmt: skip
                inputs, size = stage.filters, layers[-1].output_size
            yield layers

    def layers(self) -> Iterator[Layer]:
        """All layers of all stages, in order."""
        for stage in self.stage_layers():
            yield from stage

    @property
    def final_size(self) -> int:
        """Side of the feature map that the head sees, in pixels."""
        size = output_size(self.resolution, self.stem_stride)
        for stage in self.stages:
            size = output_size(size, stage.stride)
        return size

    def block_strings(self) -> list[str]:
        """One string per stage in the official grammar, such as ``r3_k5_s22_e3_i24_o40_se0.25``."""
        inputs = (self.stem, *(stage.filters for stage in self.stages))
        return [
            stage.block_string(width) for stage, width in zip(self.stages, inputs, strict=False)
        ]

    def scaled(
        self,
        width: float = 1.0,
        resolution: int | None = None,
        classes: int | None = None,
        stem_stride: int | None = None,
    ) -> NetSpec:
        """The same network at another width, input side or class count.

        Stem and stages scale, the head does not, as in the official code (``round_filters``).
        """
        stages = tuple(
            dataclasses.replace(stage, filters=make_divisible(stage.filters * width))
            for stage in self.stages
        )
        return dataclasses.replace(
            self,
            stem=make_divisible(self.stem * width),
            stages=self.stages if width == 1.0 else stages,
            resolution=resolution or self.resolution,
            classes=classes or self.classes,
            stem_stride=stem_stride or self.stem_stride,
        )

    def to_json(self) -> str:
        """The specification as one JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> NetSpec:
        """Read what ``to_json`` wrote.

        Raises:
            UserError: naming the field, when the text is not JSON or does not describe a network.
        """
        try:
            return NetSpec.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise UserError(f"not a network specification: {error}") from None

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> NetSpec:
        """Build from plain values, as ``dataclasses.asdict`` gives them.

        Raises:
            UserError: naming the field that is missing, unknown or outside its values.
        """
        try:
            stages = tuple(Stage(**stage) for stage in fields["stages"])
            spec = NetSpec(**{**fields, "stages": stages})
        except (KeyError, TypeError) as error:
            raise UserError(f"not a network specification: {error}") from None
        for stage in stages:
            for name, allowed in (("op", OPS), ("skip", SKIPS)):
                value = getattr(stage, name)
                if value not in allowed:
                    raise UserError(f"stage {name} is {value!r}, allowed are {', '.join(allowed)}")
        return spec
