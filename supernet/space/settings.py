"""SpaceSettings: what a space is made from, and what its blocks may be. No torch."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from supernet.errors import UserError, check_range
from supernet.files.reading import short
from supernet.space.arch import EXPANSION, VALUE_FIELDS, BlockBase, BlockChoice, Restriction
from supernet.space.limits import MAX_MULTIPLIER, MAX_SE, MOST, check_count, check_size
from supernet.space.published import published_spec
from supernet.space.stage import SKIPS, make_divisible


@dataclass(frozen=True)
class SpaceSettings:
    """Settings of a space, see ``MnasSpace``, and the values and bases that they give its blocks.

    Raises:
        UserError: when a setting describes no network, naming it.

    Examples:
        >>> settings = SpaceSettings(reference="mnasnet_a1", layers=(0, 1))
        >>> settings.base[4]
        BlockBase(filters=112, layers=2, stride=1)
    """

    ops: tuple[str, ...] = ("conv", "sepconv", "mbconv3", "mbconv6")
    """Kinds of layers: conv, sepconv, and mbconv2 to mbconv8, by their expansion."""
    kernels: tuple[int, ...] = (3, 5)
    """Sides of the kernels of a block's layers: 3, 5 or 7."""
    ses: tuple[float, ...] = (0.0, 0.25)
    """Squeeze-and-excitation widths over a layer's input width; 0 is off."""
    skips: tuple[str, ...] = ("none", "identity", "pool")
    """Shortcuts around a layer: none, identity or pool."""
    filters: tuple[float, ...] = (0.75, 1.0, 1.25)
    """Multipliers of the base widths."""
    layers: tuple[int, ...] = (-1, 0, 1)
    """Added to the base depths."""
    restrictions: tuple[Restriction, ...] = ()
    """Blocks that may take fewer of these values."""
    shared_blocks: bool = False
    """Whether all blocks take one choice, each around its own base: the cell-based space."""
    reference: str = "mobilenet_v2"
    """The published network at the centre: the bases that are not given are its own."""
    base_filters: tuple[int, ...] = ()
    """Width of each block; empty: the reference's."""
    base_layers: tuple[int, ...] = ()
    """Depth of each block; empty: the reference's."""
    strides: tuple[int, ...] = ()
    """Stride of each block's first layer; empty: the reference's."""
    width: float = 1.0
    """Multiplier of all widths, the stem's included, the head's not."""
    divisor: int = 8
    """Widths are rounded to its multiples; 1 keeps them."""
    stem: int = 32
    """Channels of the first convolution, before ``width``."""
    stem_stride: int = 2
    """Stride of the first convolution."""
    head: int = 1280
    """Channels of the last convolution, in front of the classifier."""
    resolution: int = 224
    """Side of the square input, in pixels."""
    classes: int = 1000
    """Outputs of the classifier."""

    def __post_init__(self) -> None:
        known = {"ops": tuple(EXPANSION), "kernels": (3, 5, 7), "skips": SKIPS}
        for name in VALUE_FIELDS.values():
            _check_values(name, values := getattr(self, name), known.get(name, values))
        self._check_ranges()
        self._check_blocks()
        self._check_size()

    def _check_ranges(self) -> None:
        for limit, names in _LIMITS.items():
            check_range("space.", self, *names, least=1, most=MOST[limit])
        check_range("space.", self, "width", "filters", above=0, most=MAX_MULTIPLIER)
        check_range("space.", self, "ses", least=0, most=MAX_SE)
        check_range("space.", self, "layers", least=-MOST["layers"], most=MOST["layers"])

    def _check_size(self) -> None:
        """Refuse a space whose largest network nothing could hold."""
        widest, deepest, blocks = max(self.filters), max(self.layers), range(self.num_blocks)
        expansion = max(EXPANSION[op] for op in self.ops)
        check_size(
            [self.stem_filters, *(self.block_filters(block, widest) for block in blocks)],
            [self.block_layers(block, deepest) for block in blocks],
            max(self.kernels) ** 2 if "conv" in self.ops else 2 * expansion,
        )

    def _check_blocks(self) -> None:
        lengths = [len(values) for values in self._bases()]
        if len(set(lengths)) != 1:
            raise UserError(
                "space: base_filters, base_layers and strides must name the same number of blocks,"
                f" got {', '.join(map(str, lengths))}; those that are empty are {self.reference}'s"
            )
        check_count("space: number of blocks", lengths[0], most=MOST["blocks"])
        if self.shared_blocks and self.restrictions:
            raise UserError(
                "space.restrictions hold single blocks to fewer values, but shared_blocks gives all"
                " of them one choice: narrow ops, kernels and so on instead, or drop one of the two"
            )
        numbers = [restriction.block for restriction in self.restrictions]
        for number, restriction in zip(numbers, self.restrictions, strict=True):
            if not 1 <= number <= lengths[0] or numbers.count(number) > 1:
                raise UserError(
                    f"space.restrictions: block is {number}, it must be one of 1 to {lengths[0]},"
                    " each at most once"
                )
            for name in VALUE_FIELDS.values():
                if values := getattr(restriction, name):
                    place = f"restrictions, block {number}, {name}"
                    _check_values(place, values, getattr(self, name))

    def _bases(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        stages = published_spec(self.reference).stages
        return (
            self.base_filters or [stage.filters for stage in stages],
            self.base_layers or [stage.repeats for stage in stages],
            self.strides or [stage.stride for stage in stages],
        )

    @property
    def ignores_reference(self) -> bool:
        """Whether all bases are given, and other widths or depths than the reference's.

        Examples:
            >>> of_two = SpaceSettings(base_filters=(8, 16), base_layers=(1, 1), strides=(1, 2))
            >>> of_two.ignores_reference, SpaceSettings().ignores_reference
            (True, False)
        """
        if not (self.base_filters and self.base_layers and self.strides):
            return False
        own = [(one.filters, one.repeats) for one in published_spec(self.reference).stages]
        return own != list(zip(self.base_filters, self.base_layers, strict=True))

    @cached_property
    def base(self) -> tuple[BlockBase, ...]:
        """Width, depth and stride of every block at the centre of the space."""
        return tuple(BlockBase(*block) for block in zip(*self._bases(), strict=True))

    @cached_property
    def choices(self) -> tuple[dict[str, tuple], ...]:
        """For every block the values of each of the six decisions, in the order of their indices.

        A restricted block keeps the order of the space's values.
        """
        limits = {restriction.block: restriction for restriction in self.restrictions}
        return tuple(
            {
                decision: tuple(
                    value
                    for value in getattr(self, name)
                    if value in (getattr(limits.get(number), name, ()) or getattr(self, name))
                )
                for decision, name in VALUE_FIELDS.items()
            }
            for number in range(1, self.num_blocks + 1)
        )

    @cached_property
    def groups(self) -> tuple[range, ...]:
        """Blocks (from 0) that take one choice together, in order: one each, or all of them.

        Examples:
            >>> SpaceSettings().groups[:2], SpaceSettings(shared_blocks=True).groups
            ((range(0, 1), range(1, 2)), (range(0, 7),))
        """
        size = self.num_blocks if self.shared_blocks else 1
        return tuple(range(first, first + size) for first in range(0, self.num_blocks, size))

    @property
    def num_blocks(self) -> int:
        """Blocks between stem and head."""
        return len(self.base)

    def block_choices(self, block: int) -> Iterator[BlockChoice]:
        """All choices of a block (from 0), in the order of their indices."""
        return (BlockChoice(*values) for values in itertools.product(*self.choices[block].values()))

    def block_filters(self, block: int, multiplier: float) -> int:
        """Output channels of a block (from 0) after width and rounding."""
        return make_divisible(self.base[block].filters * multiplier * self.width, self.divisor)

    def block_layers(self, block: int, delta: int) -> int:
        """Layers of a block (from 0): never fewer than one."""
        return max(1, self.base[block].layers + delta)

    @property
    def stem_filters(self) -> int:
        """Output channels of the stem after width and rounding."""
        return make_divisible(self.stem * self.width, self.divisor)

    def plain(self) -> dict[str, Any]:
        """Its settings as a file holds them: ``shared_blocks`` only where blocks do.

        So that files and hashes of spaces stay what they were before there was this setting.
        """
        fields = dataclasses.asdict(self)
        if not self.shared_blocks:
            del fields["shared_blocks"]
        return fields


_LIMITS = {
    "channels": ("base_filters", "stem", "head", "divisor"),
    "layers": ("base_layers",),
    "stride": ("strides", "stem_stride"),
    "side": ("resolution",),
    "classes": ("classes",),
}
"""Numbers of a space that have a limit, by its name in ``MOST``."""


def _check_values(name: str, values: tuple, allowed: tuple) -> None:
    if not values or len(set(values)) != len(values):
        held = f"at least one value and none twice, got {short(values)}"
        raise UserError(f"space.{name} must hold {held}")
    for value in values:
        if value not in allowed:
            known = ", ".join(map(str, allowed))
            raise UserError(f"space.{name}: unknown value {short(value)}, allowed are {known}")
