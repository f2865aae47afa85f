"""Arch: one choice per block, the data that everything else is a function of. No torch."""

from __future__ import annotations

from dataclasses import dataclass

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
