"""Slices of the shared weights that paths train, and boxes without overlap that cover them."""

import copy
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from supernet.network.elastic import ElasticLayer
from supernet.network.functional import Box, Taken
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path
from supernet.space.stage import Layer

SMALL = 4096
"""Numbers of a bounding box that is exchanged whole: it takes less than a copy of its parts."""
SPARE = 0.02
"""Share of zeros for which a larger bounding box is exchanged whole."""

Boxes = dict[int, Sequence[Box]]
"""Boxes without overlap, by the place of their parameter among those of the supernet."""


class PathSlices:
    """What the paths of a step train of a supernet's parameters.

    It is known without a forward pass, so that every rank knows it of all ranks' paths.
    """

    def __init__(self, supernet: SuperNet) -> None:
        # Without data: weights are sliced to see what is sliced, and not computed.
        self._twin = copy.deepcopy(supernet).to("meta")
        self._places = {id(one): place for place, one in enumerate(self._twin.parameters())}
        self._known: dict[tuple[int, Layer, bool], list[tuple[int, Box]]] = {}

    def covering(self, paths: Iterable[Path], stream: bool) -> Boxes:
        """Boxes that cover all that any of some paths trains, and little else.

        ``stream``: whether the shortcuts that all ops share have any weight.
        """
        return {place: _covering(boxes) for place, boxes in self.taken(paths, stream)}

    def num_trained(self, paths: Iterable[Path], stream: bool) -> int:
        """Number of weights that any of some paths trains."""
        return sum(num_weights(disjoint(boxes)) for _, boxes in self.taken(paths, stream))

    def taken(self, paths: Iterable[Path], stream: bool) -> Iterator[tuple[int, frozenset[Box]]]:
        """Boxes that some paths train, as they are: they may overlap. By place of the parameter."""
        taken: dict[int, set[Box]] = {}
        for path in paths:
            for place, box in self._of(path, stream):
                taken.setdefault(place, set()).add(box)
        return ((place, frozenset(taken[place])) for place in sorted(taken))

    def _of(self, path: Path, stream: bool) -> Iterator[tuple[int, Box]]:
        yield from self._placed(self._twin.ends(path))
        for elastic, layer in self._twin.layers(path):
            yield from self._of_layer(elastic, layer, stream)

    def _of_layer(self, elastic: ElasticLayer, layer: Layer, stream: bool) -> list[tuple[int, Box]]:
        key = id(elastic), layer, stream
        if key not in self._known:
            self._known[key] = list(self._placed(elastic.slices(layer, stream)))
        return self._known[key]

    def _placed(self, taken: Taken) -> Iterator[tuple[int, Box]]:
        return ((self._places[id(tensor)], box) for tensor, box in taken)


@functools.lru_cache(maxsize=2**16)
def _covering(boxes: frozenset[Box]) -> Sequence[Box]:
    """Boxes without overlap that cover given ones, as few as may be."""
    parts = disjoint(boxes)
    around = tuple(
        (min(start for start, _ in edges), max(stop for _, stop in edges))
        for edges in zip(*boxes, strict=True)
    )
    most = max(SMALL, (1 + SPARE) * num_weights(parts))
    return [around] if num_weights([around]) <= most else parts


def disjoint(boxes: Iterable[Box]) -> list[Box]:
    """Boxes without overlap that cover what given ones of as many dimensions do.

    Examples:
        >>> disjoint([((0, 2), (0, 6)), ((0, 4), (0, 3))])
        [((0, 2), (0, 6)), ((2, 4), (0, 3))]
    """
    boxes = list(boxes)
    if not boxes or not boxes[0]:
        return boxes[:1]
    slabs: list[tuple[int, int, list[Box]]] = []
    for start, stop in pairwise(sorted({edge for box in boxes for edge in box[0]})):
        inner = {box[1:] for box in boxes if box[0][0] <= start and stop <= box[0][1]}
        rest = disjoint(inner)
        if slabs and slabs[-1][1:] == (start, rest):
            slabs[-1] = slabs[-1][0], stop, rest
        else:
            slabs.append((start, stop, rest))
    return [((start, stop), *box) for start, stop, rest in slabs for box in rest]


def num_weights(boxes: Iterable[Box]) -> int:
    """Numbers in boxes without overlap."""
    return sum(math.prod(stop - start for start, stop in box) for box in boxes)
