"""Arch and MnasSpace: the factorised hierarchical search space of MnasNet (sec. 4.1). No torch.

``python -m supernet.space show NAME|FILE`` prints a network as a table.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from supernet.errors import UserError
from supernet.spec import NetSpec, Stage, make_divisible

DECISIONS = ("op", "kernel", "se", "skip", "filters", "layers")
MIXED = "mixed"
"""The op of a warm-up path: the average of all ops. Never part of an Arch."""


@dataclass(frozen=True)
class BlockChoice:
    """The six decisions of one block; its layers are alike (MnasNet, sec. 4.1)."""

    op: str
    kernel: int
    se: float
    skip: str
    filters: float
    """Multiplier of the block's base width."""
    layers: int
    """Added to the block's base depth."""


@dataclass(frozen=True)
class Arch:
    """One choice per block: what the controller emits and everything else is a function of."""

    blocks: tuple[BlockChoice, ...]


Path = Arch
"""What the supernet runs: an Arch, or a warm-up path in which some op is ``MIXED``."""


@dataclass(frozen=True)
class MnasSpace:
    """Settings that turn an Arch into a network; the defaults are the paper's space.

    Decisions of ours where the paper is silent:

    * The paper lists three ops and 432 choices per block; 432 = 4*2*2*3*3*3 needs four ops, so
      the inverted bottleneck counts twice, with expansion 3 and 6.
    * ``layers``: at least 1, because a block of no layers could neither stride nor widen.
    * ``filters``: rounded to ``divisor`` as MobileNetV2 does; a setting, since rounding merges
      choices at small widths.
    * ``skip`` identity acts on layers of stride 1 and equal widths; pool acts on every layer.
    * Skips are listed with ``none`` first, so that a canonical code spells an identity that acts
      nowhere as ``none``.
    """

    ops: tuple[str, ...] = ("conv", "sepconv", "mbconv3", "mbconv6")
    kernels: tuple[int, ...] = (3, 5)
    ses: tuple[float, ...] = (0.0, 0.25)
    skips: tuple[str, ...] = ("none", "identity", "pool")
    filters: tuple[float, ...] = (0.75, 1.0, 1.25)
    layers: tuple[int, ...] = (-1, 0, 1)
    base_filters: tuple[int, ...] = (16, 24, 32, 64, 96, 160, 320)
    base_layers: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    width: float = 1.0
    divisor: int = 8
    stem: int = 32
    stem_stride: int = 2
    head: int = 1280
    resolution: int = 224
    classes: int = 1000

    def __post_init__(self) -> None:
        """Refuse settings that describe no network, naming the key."""
        _check_values("ops", self.ops, ("conv", "sepconv", "mbconv3", "mbconv6"))
        _check_values("kernels", self.kernels, (3, 5, 7))
        _check_values("skips", self.skips, ("none", "identity", "pool"))
        for name in ("ses", "filters", "layers"):
            _check_values(name, getattr(self, name), getattr(self, name))
        for name in ("filters", "base_filters", "base_layers", "strides"):
            _check_above_zero(name, getattr(self, name))
        for name in ("width", "divisor", "stem", "stem_stride", "head", "resolution", "classes"):
            _check_above_zero(name, (getattr(self, name),))
        _check_above_zero("ses", tuple(se for se in self.ses if se))
        blocks = {len(self.base_filters), len(self.base_layers), len(self.strides)}
        if len(blocks) != 1 or blocks == {0}:
            raise UserError(
                "space: base_filters, base_layers and strides must name the same number of blocks,"
                f" got {len(self.base_filters)}, {len(self.base_layers)}, {len(self.strides)}"
            )

    @cached_property
    def choices(self) -> dict[str, tuple]:
        """The values of each of the six decisions, in the order of their indices."""
        values = (self.ops, self.kernels, self.ses, self.skips, self.filters, self.layers)
        return dict(zip(DECISIONS, values, strict=True))

    @cached_property
    def decision_sizes(self) -> tuple[int, ...]:
        """Number of values of every decision of every block, 42 in the paper's space."""
        return tuple(len(values) for values in self.choices.values()) * self.num_blocks

    @property
    def num_blocks(self) -> int:
        """Blocks between stem and head."""
        return len(self.base_filters)

    def sample(self, rng: random.Random) -> Arch:
        """Draw every decision uniformly."""
        return self.decode([rng.randrange(size) for size in self.decision_sizes])

    def decode(self, indices: Sequence[int]) -> Arch:
        """The Arch of one index per decision, block by block in the order of ``DECISIONS``."""
        if len(indices) != len(self.decision_sizes):
            raise ValueError(f"{len(indices)} indices for {len(self.decision_sizes)} decisions")
        rows = zip(*[iter(indices)] * len(DECISIONS), strict=True)
        tables = tuple(self.choices.values())
        return Arch(
            tuple(
                BlockChoice(*(table[index] for table, index in zip(tables, row, strict=True)))
                for row in rows
            )
        )

    def encode(self, arch: Arch) -> tuple[int, ...]:
        """The indices of an Arch.

        Raises:
            UserError: naming the block, the decision and its values, for a choice outside.
        """
        if len(arch.blocks) != self.num_blocks:
            raise UserError(
                f"architecture has {len(arch.blocks)} blocks, the space has {self.num_blocks}"
            )
        return tuple(
            self._index(number, name, getattr(block, name))
            for number, block in enumerate(arch.blocks, 1)
            for name in DECISIONS
        )

    def _index(self, block: int, name: str, value: object) -> int:
        if value not in self.choices[name]:
            allowed = ", ".join(map(str, self.choices[name]))
            raise UserError(f"block {block}: {name} is {value!r}, this space allows {allowed}")
        return self.choices[name].index(value)

    def block_filters(self, block: int, multiplier: float) -> int:
        """Output channels of a block (from 0) after width and rounding."""
        return make_divisible(self.base_filters[block] * multiplier * self.width, self.divisor)

    def block_layers(self, block: int, delta: int) -> int:
        """Layers of a block (from 0): never fewer than one."""
        return max(1, self.base_layers[block] + delta)

    @property
    def stem_filters(self) -> int:
        """Output channels of the stem after width and rounding."""
        return make_divisible(self.stem * self.width, self.divisor)

    def spec(self, arch: Arch) -> NetSpec:
        """The network that an Arch stands for."""
        stages = tuple(self._stage(number, block) for number, block in enumerate(arch.blocks))
        return NetSpec(
            self.stem_filters, self.stem_stride, stages, self.head, self.classes, self.resolution
        )

    def _stage(self, number: int, block: BlockChoice) -> Stage:
        expand = {"mbconv3": 3, "mbconv6": 6}.get(block.op, 1)
        return Stage(
            op="mbconv" if expand > 1 else block.op,
            kernel=block.kernel,
            expand=expand,
            se=block.se,
            skip=block.skip,
            filters=self.block_filters(number, block.filters),
            repeats=self.block_layers(number, block.layers),
            stride=self.strides[number],
        )

    def canonical(self, arch: Arch) -> Arch:
        """The representative, of smallest indices, of all codes of the same network.

        Codes differ without effect where rounding merges widths, where depth is clamped at one
        layer, and where an identity acts on no layer.
        """
        blocks, inputs = [], self.stem_filters
        for number, block in enumerate(arch.blocks):
            width = self.block_filters(number, block.filters)
            depth = self.block_layers(number, block.layers)
            acts = depth > 1 or (self.strides[number] == 1 and width == inputs)
            idle = block.skip != "pool" and not acts
            blocks.append(
                dataclasses.replace(
                    block,
                    skip=self._idle_skip() if idle else block.skip,
                    filters=next(f for f in self.filters if self.block_filters(number, f) == width),
                    layers=next(d for d in self.layers if self.block_layers(number, d) == depth),
                )
            )
            inputs = width
        return Arch(tuple(blocks))

    def _idle_skip(self) -> str:
        return next(skip for skip in self.skips if skip in ("none", "identity"))


def _check_above_zero(name: str, values: tuple) -> None:
    wrong = [value for value in values if not 0 < value < math.inf]
    if wrong:
        raise UserError(f"space.{name} is {wrong[0]}, it must be a finite number above 0")


def _check_values(name: str, values: tuple, allowed: tuple) -> None:
    if not values or len(set(values)) != len(values):
        raise UserError(f"space.{name} must hold at least one value and none twice, got {values}")
    unknown = [value for value in values if value not in allowed]
    if unknown:
        known = ", ".join(map(str, allowed))
        raise UserError(f"space.{name}: unknown value {unknown[0]!r}, allowed are {known}")


if __name__ == "__main__":
    from supernet.show import main

    main()
