"""Arch: one choice per block, the data that everything else is a function of. No torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

DECISIONS = ("op", "kernel", "se", "skip", "filters", "layers")
VALUE_FIELDS = dict(
    zip(DECISIONS, ("ops", "kernels", "ses", "skips", "filters", "layers"), strict=True)
)
"""Field of a space and of its restrictions that holds the values of each decision."""
MBCONVS = {f"mbconv{expansion}": expansion for expansion in range(2, 9)}
"""Expansion of every inverted bottleneck that a space may offer."""
EXPANSION = {"conv": 1, "sepconv": 1, **MBCONVS}
"""Hidden width over input width of every op that a space may offer."""


def mixture(ops: Iterable[str]) -> str:
    """The op of a warm-up path that is the average of several. Never part of an Arch.

    Examples:
        >>> mixture(["conv", "mbconv6"])
        'conv+mbconv6'
    """
    return "+".join(ops)


def mixed_ops(op: str) -> tuple[str, ...]:
    """What an op of a path is the average of: itself alone, unless it is a ``mixture``.

    Examples:
        >>> mixed_ops("conv+mbconv6"), mixed_ops("conv")
        (('conv', 'mbconv6'), ('conv',))
    """
    return tuple(op.split("+"))


@dataclass(frozen=True)
class BlockChoice:
    """The six decisions of one block; its layers are alike (MnasNet, sec. 4.1).

    Examples:
        >>> BlockChoice("mbconv6", kernel=5, se=0.25, skip="identity", filters=1.0, layers=0).op
        'mbconv6'
    """

    op: str
    kernel: int
    se: float
    skip: str
    filters: float
    """Multiplier of the block's base width."""
    layers: int
    """Added to the block's base depth."""


class BlockBase(NamedTuple):
    """What the choices of a block are relative to."""

    filters: int
    layers: int
    stride: int


@dataclass(frozen=True)
class Arch:
    """One choice per block: what the controller emits and everything else is a function of.

    Examples:
        >>> block = BlockChoice("conv", kernel=3, se=0.0, skip="none", filters=1.0, layers=0)
        >>> len(Arch((block,) * 7).blocks)
        7
    """

    blocks: tuple[BlockChoice, ...]


Path = Arch
"""What the supernet runs: an Arch, or a warm-up path in which some op is a ``mixture``."""


@dataclass(frozen=True)
class Restriction:
    """The values that one block may take, where they are fewer than the space's.

    Examples:
        >>> from supernet.space.mnasnet import MnasSpace
        >>> first = Restriction(block=1, ops=("conv", "sepconv"))
        >>> space = MnasSpace(restrictions=(first,))
        >>> space.choices[0]["op"], len(space.choices[1]["op"])
        (('conv', 'sepconv'), 4)
    """

    block: int
    """Number of the block, from 1."""
    ops: tuple[str, ...] = ()
    """Kinds of its layers; empty, here and below: all of the space's."""
    kernels: tuple[int, ...] = ()
    """Sides of its kernels."""
    ses: tuple[float, ...] = ()
    """Its squeeze-and-excitation widths."""
    skips: tuple[str, ...] = ()
    """Shortcuts around its layers."""
    filters: tuple[float, ...] = ()
    """Multipliers of its base width."""
    layers: tuple[int, ...] = ()
    """Added to its base depth."""
