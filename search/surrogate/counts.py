"""Counts of a network: a dozen sums over its layers, from which a few labels tell a direction."""

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from search.objective.block_tables import BlockTables
from supernet.cost.counts import count_layer, count_stem_and_head
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Layer, Stage

LAYERS, GATED, PARAMETERS = "layers", "layers with squeeze-and-excitation", "parameters"
WIDTH, LAST_WIDTH = "log width of a block", "log width of the last block"
SIZE = "log parameters of a block"


def stage_counts(layers: Sequence[Layer]) -> dict[str, float]:
    """What the layers of one block add to a network's counts, by name.

    A count leaves out in which block a choice was made, so that there are a dozen of them where a
    space has a hundred choices. It is a sum over blocks, and no mean: so the best network for a
    regression on counts can be found exactly, and such sums rank networks better
    (docs/lab-notebook.md). Parameters count twice, as a sum and as one of logarithms, which a few
    large blocks do not decide (docs/outside-truth.md). No cost is among them, so that they serve
    every device.
    """
    named: Counter[str] = Counter()
    for layer in layers:
        named.update((LAYERS, op_name(layer), f"shortcut {layer.skip}", f"kernel {layer.kernel}"))
    parameters = sum(count_layer(layer).params for layer in layers)
    return {
        **named,
        GATED: sum(layer.se > 0 for layer in layers),
        PARAMETERS: parameters,
        SIZE: math.log(parameters),
        WIDTH: math.log(layers[-1].outputs),
    }


def op_name(layer: Layer) -> str:
    """Name of a layer's op as a space has it: ``mbconv6`` for a mbconv of expansion 6."""
    return f"{layer.op}{layer.expand}" if layer.op == "mbconv" else layer.op


def end_counts(spec: NetSpec) -> dict[str, float]:
    """What stem and head add to a network's counts, by name."""
    last = spec.stages[-1].filters
    return {LAST_WIDTH: math.log(last), PARAMETERS: count_stem_and_head(spec).params}


def counts_of(spec: NetSpec) -> dict[str, float]:
    """Counts of a network, by name; those that it lacks are left out."""
    counts = end_counts(spec)
    for layers in spec.stage_layers():
        for name, value in stage_counts(layers).items():
            counts[name] = counts.get(name, 0.0) + value
    return counts


class BlockCounts(BlockTables):
    """Counts of the networks of a space, tabulated by the choices of each block.

    ``of`` gives the counts (M, F) of architectures (M, D), in the order of ``names``.
    """

    def __init__(self, space: MnasSpace) -> None:
        @functools.cache
        def counted(stage: Stage, inputs: int, size: int) -> Mapping[str, float]:
            found = stage_counts(list(stage.layers(inputs, size)))
            names.update(dict.fromkeys(found))
            return found

        names = dict.fromkeys([LAST_WIDTH])
        # Once only to learn which counts there are.
        BlockTables(space, lambda *stage: len(counted(*stage)), lambda _: 0.0)
        self.names = sorted(names)
        super().__init__(
            space,
            lambda *stage: self._row(counted(*stage)),
            lambda spec: self._row(end_counts(spec)),
        )

    def _row(self, counts: Mapping[str, float]) -> list[float]:
        return [float(counts.get(name, 0.0)) for name in self.names]
