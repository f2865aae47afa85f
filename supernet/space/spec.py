"""NetSpec: a concrete network as data, from stem to classifier. No torch.

A NetSpec is more general than the search space, so that the published networks, whose widths lie
outside it, are NetSpecs too.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from supernet.errors import UserError, check_choice, check_range
from supernet.files.json_text import parse_json
from supernet.files.reading import read_as
from supernet.space.block_strings import read_block_strings, spell, spell_for_timm
from supernet.space.limits import MAX_MULTIPLIER, MOST, check_count
from supernet.space.stage import Layer, Stage, make_divisible, output_size

_ACTIVATIONS = ("relu", "relu6")
_LIMITS = {
    "stem": "channels",
    "stem_stride": "stride",
    "head": "channels",
    "classes": "classes",
    "resolution": "side",
}
"""Name in ``MOST`` of the limit of each number of a network."""


@dataclass(frozen=True)
class NetSpec:
    """A network: stem 3x3 convolution, stages, 1x1 head convolution, pooling, classifier.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> spec = published_spec("mnasnet_a1")
        >>> spec.stem, len(spec.stages), spec.head, spec.resolution
        (32, 7, 1280, 224)
        >>> spec.final_size
        7
    """

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
    head_widens: bool = False
    """Whether a width multiplier above 1 widens the head too (MobileNetV2; MnasNet's never)."""

    def stage_layers(self) -> Iterator[list[Layer]]:
        """The layers of each stage, in order; a skip that cannot act on a layer is ``none``."""
        inputs, size = self.stem, output_size(self.resolution, self.stem_stride)
        for stage in self.stages:
            layers = list(stage.layers(inputs, size))
            inputs, size = stage.filters, layers[-1].output_size
            yield layers

    def layers(self) -> Iterator[Layer]:
        """All layers of all stages, in order.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> len(list(published_spec("mnasnet_a1").layers()))
            16
        """
        return itertools.chain.from_iterable(self.stage_layers())

    @property
    def widths(self) -> list[int]:
        """Channels behind the stem and behind every stage.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> published_spec("mnasnet_b1").widths
            [32, 16, 24, 40, 80, 96, 192, 320]
        """
        return [self.stem, *(stage.filters for stage in self.stages)]

    @property
    def strides(self) -> list[int]:
        """Pixels of the image for one behind the stem and behind every stage.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> published_spec("mnasnet_b1").strides
            [2, 2, 4, 8, 16, 16, 32, 32]
        """
        steps = (self.stem_stride, *(stage.stride for stage in self.stages))
        return list(itertools.accumulate(steps, operator.mul))

    @property
    def final_size(self) -> int:
        """Side of the feature map that the head sees, in pixels."""
        return output_size(self.resolution, self.strides[-1])

    def block_strings(self, grammar: Literal["official", "timm"] = "official") -> list[str]:
        """One string per stage, such as ``r3_k5_s22_e3_i24_o40_se0.25``.

        The official grammar, with our two words, spells every network.

        Raises:
            UserError: naming the stage, when timm's grammar cannot spell it.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> spec = published_spec("mnasnet_a1")
            >>> spec.block_strings()[:2]
            ['r1_k3_s11_e1_i32_o16_noskip', 'r2_k3_s22_e6_i16_o24']
            >>> spec.block_strings(grammar="timm")[:2]
            ['ds_r1_k3_s1_c16_noskip', 'ir_r2_k3_s2_e6_c24']
        """
        write = spell if grammar == "official" else spell_for_timm
        strings = []
        for number, block in enumerate(zip(self.stages, self.widths, strict=False), 1):
            try:
                strings.append(write(*block))
            except UserError as error:
                raise UserError(f"stage {number}, {spell(*block)}: {error}") from None
        return strings

    @staticmethod
    def from_block_strings(
        strings: Sequence[str],
        *,
        stem: int = 0,
        stem_stride: int = 2,
        head: int = 1280,
        classes: int = 1000,
        resolution: int = 224,
        **others: Any,
    ) -> NetSpec:
        """The network of strings in the official grammar with our two words, or in timm's.

        ``supernet.space.block_strings`` documents both. The rest are fields of the NetSpec; a stem
        of 0 channels takes those of the first string, and 32 where that is timm's, which does not
        tell them. timm's ``bn_eps`` is 1e-5.

        Raises:
            UserError: naming the string, and the token and its position where it is malformed.

        Examples:
            >>> strings = ["r1_k3_s11_e1_i16_o16_noskip", "r2_k5_s22_e3_i16_o24_se0.25"]
            >>> spec = NetSpec.from_block_strings(strings, head=64, classes=10, resolution=32)
            >>> spec.widths
            [16, 16, 24]
        """
        told, stages = read_block_strings(strings, stem)
        spec = NetSpec(told or 32, stem_stride, stages, head, classes, resolution, **others)
        return spec.checked()

    def scaled(
        self,
        width: float = 1.0,
        resolution: int | None = None,
        classes: int | None = None,
        stem_stride: int | None = None,
    ) -> NetSpec:
        """This network at another width, input side or class count.

        Stem and stages scale, and the head of MobileNetV2 above width 1, as in the official code
        (``round_filters``) and in timm.

        Raises:
            UserError: when the result describes no network.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> small = published_spec("mnasnet_a1").scaled(0.5, resolution=96, classes=10)
            >>> small.widths[:3], small.resolution
            ([16, 8, 16], 96)
        """
        if not 0 < width <= MAX_MULTIPLIER:
            raise UserError(
                f"width is {width}, it must be a finite number above 0 and at most"
                f" {MAX_MULTIPLIER:g}"
            )
        scaled = self if width == 1.0 else self._widened(width)
        given = {"resolution": resolution, "classes": classes, "stem_stride": stem_stride}
        changes: dict[str, Any] = {name: n for name, n in given.items() if n is not None}
        return dataclasses.replace(scaled, **changes).checked()

    def _widened(self, width: float) -> NetSpec:
        stages = tuple(
            dataclasses.replace(stage, filters=make_divisible(stage.filters * width))
            for stage in self.stages
        )
        head = max(self.head, make_divisible(self.head * width)) if self.head_widens else self.head
        return dataclasses.replace(
            self, stem=make_divisible(self.stem * width), stages=stages, head=head
        )

    def checked(self) -> NetSpec:
        """Itself.

        Raises:
            UserError: naming the field and what it must be, when this describes no network.
        """
        for name, limit in _LIMITS.items():
            check_count(name, getattr(self, name), most=MOST[limit])
        if not self.stages:
            raise UserError("a network needs at least one stage")
        check_count("number of stages", len(self.stages), most=MOST["blocks"])
        for number, stage in enumerate(self.stages, 1):
            stage.check(f"stage {number}")
        check_choice("activation", self.activation, _ACTIVATIONS)
        check_range("", self, "bn_eps", above=0, most=1)
        check_range("", self, "bn_momentum", above=0, most=1)
        return self

    def to_json(self) -> str:
        """The specification as one JSON object.

        Examples:
            >>> from supernet.space.published import published_spec
            >>> spec = published_spec("mnasnet_small")
            >>> NetSpec.from_json(spec.to_json()) == spec
            True
        """
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> NetSpec:
        """Read what ``to_json`` wrote.

        Raises:
            UserError: naming the field, when the text is not JSON or does not describe a network.
        """
        try:
            fields = parse_json(text.encode(errors="surrogatepass"))
        except UserError as error:
            raise UserError(f"not a network specification: {error}") from None
        return NetSpec.from_dict(fields)

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> NetSpec:
        """Build from plain values, as ``dataclasses.asdict`` and JSON give them.

        Raises:
            UserError: naming the field that is missing, unknown or outside its values.
        """
        try:
            return read_as(NetSpec, fields, partial=True).checked()
        except UserError as error:
            raise UserError(f"not a network specification: {error}") from None
