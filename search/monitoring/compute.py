"""What a supernet computes on a path: a mixed block runs all of its ops."""

from __future__ import annotations

from functools import lru_cache

from search.controller_step import StepResult
from supernet.cost.counts import count, count_layer
from supernet.network.elastic import variant
from supernet.space.arch import MIXED, Path
from supernet.space.mnasnet import MnasSpace
from supernet.space.stage import Layer


def path_macs(space: MnasSpace, path: Path, stream: bool) -> int:
    """Multiply-accumulates of one image.

    Args:
        space: of the path.
        path: an Arch, or a warm-up path with mixed blocks.
        stream: whether the shortcuts that all ops share are computed.
    """
    spec = space.spec(path)
    macs = count(spec).macs
    for layers, choices in zip(spec.stage_layers(), space.choices, strict=True):
        macs += sum(_beyond_network(layer, choices["op"], stream) for layer in layers)
    return macs


@lru_cache(maxsize=4096)
def _beyond_network(layer: Layer, ops: tuple[str, ...], stream: bool) -> int:
    """What one layer costs beyond ``count_layer``."""
    macs = 0
    if layer.op == MIXED:
        macs += sum(count_layer(variant(layer, op)).macs for op in ops) - count_layer(layer).macs
    if stream and layer.skip != "identity":
        macs += layer.inputs * layer.outputs * layer.output_size**2
    return macs


FORWARD = 3
"""Passes of a training step, in units of the forward pass that scoring a network takes."""


def scoring_work(space: MnasSpace, update: StepResult, images: int) -> int:
    """Images x multiply-accumulates of an update, in training steps' worth."""
    archs = [space.decode(row) for row in update.proposals.indices.tolist()]
    return images * sum(path_macs(space, arch, stream=False) for arch in archs) // FORWARD
