"""Paths of the weight steps: drawn uniformly with warm-up, then proposed by the controller."""

import dataclasses
import random

from search.controllers.controller import Controller
from search.step import make_generator
from supernet.run.distributed import step_seed
from supernet.space.arch import DECISIONS, MIXED, Arch, Path
from supernet.space.mnasnet import MnasSpace


class StepPaths:
    """What the weight steps of one rank train; each rank has paths of its own.

    Args:
        space: of the supernet.
        controller: as it is when a path is asked for.
        every: steps between two updates of the controller.
        seed: of the search.
        rank: of this process.
    """

    def __init__(
        self, space: MnasSpace, controller: Controller, every: int, seed: int, rank: int
    ) -> None:
        self.space, self.controller, self.every = space, controller, every
        self.seed, self.rank = seed, rank
        self._proposed: tuple[int, list[Path]] | None = None

    def uniform(self, step: int, warmup: float) -> Path:
        """A path in which each decision takes its all-enabling value by the chance ``warmup``."""
        rng = random.Random(step_seed(self.seed, step, self.rank))
        return warmup_path(self.space.sample(rng), self.space, warmup, rng)

    def proposed(self, step: int) -> Path:
        """The controller's path.

        It learns after every step whose number ``every`` divides, and proposes the paths until its
        next update at once, as the LSTM is slow.
        """
        group, place = divmod(step - 1, self.every)
        if self._proposed is None or self._proposed[0] != group:
            generator = make_generator("path", self.seed, group, self.rank)
            rows = self.controller.propose(self.every, generator).indices.tolist()
            self._proposed = group, [self.space.decode(row) for row in rows]
        return self._proposed[1][place]


def warmup_path(arch: Arch, space: MnasSpace, probability: float, rng: random.Random) -> Path:
    """Give each decision of ``arch`` its all-enabling value with ``probability``.

    Largest filters, layers, kernel and squeeze ratio; pooling as skip, which acts everywhere; and
    the average of all ops.
    """
    blocks = []
    for block, choices in zip(arch.blocks, space.choices, strict=True):
        largest = {name: max(values) for name, values in choices.items()}
        largest["op"] = MIXED if len(choices["op"]) > 1 else choices["op"][0]
        largest["skip"] = next(s for s in ("pool", "identity", "none") if s in choices["skip"])
        changes = {name: largest[name] for name in DECISIONS if rng.random() < probability}
        blocks.append(dataclasses.replace(block, **changes))
    return Arch(tuple(blocks))
