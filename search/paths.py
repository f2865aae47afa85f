"""Paths of the weight steps: drawn uniformly with warm-up, then proposed by the controller."""

import dataclasses
import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from search.controllers.controller import Controller
from search.step import make_generator
from supernet.run.distributed import gather_rows, step_seed
from supernet.space.arch import DECISIONS, Arch, Path, mixture
from supernet.space.mnasnet import MnasSpace


class StepPaths:
    """What the weight steps train: paths on each rank, of which every rank knows all.

    Batches whose gradients are accumulated train what as many ranks would: those of the first
    batches come first, in the order of their ranks.

    Args:
        space: of the supernet.
        controller: as it is when a path is asked for.
        every: steps between two updates of the controller.
        seed: of the search.
        rank: of this process.
        num_ranks: of the search.
        accumulated: batches of a step on each rank.
    """

    def __init__(
        self,
        space: MnasSpace,
        controller: Controller,
        every: int,
        seed: int,
        rank: int,
        num_ranks: int,
        accumulated: int = 1,
    ) -> None:
        self.space, self.controller, self.every = space, controller, every
        self.seed = seed
        self.numbers = range(num_ranks * accumulated)
        """Of all paths of a step."""
        self.mine = self.numbers[rank::num_ranks]
        self._proposed: tuple[int, list[list[Path]]] | None = None

    def uniform(self, step: int, warmup: float) -> list[Path]:
        """Paths in which each decision takes its warm-up value by the chance ``warmup``."""
        return [self._uniform(step, number, warmup) for number in self.numbers]

    def _uniform(self, step: int, number: int, warmup: float) -> Path:
        rng = random.Random(step_seed(self.seed, step, number))
        return warmup_path(self.space.sample(rng), self.space, warmup, rng)

    def proposed(self, step: int) -> list[Path]:
        """The controller's paths; every rank must ask.

        It learns after every step whose number ``every`` divides, and proposes the paths until its
        next update at once, as the LSTM is slow. Ranks propose their own and tell the others.
        """
        group, place = divmod(step - 1, self.every)
        if self._proposed is None or self._proposed[0] != group:
            mine = torch.stack([self._rows(group, number) for number in self.mine])
            rows = gather_rows(mine[None]).transpose(0, 1).flatten(0, 1).tolist()
            self._proposed = group, [list(map(self.space.decode, one)) for one in rows]
        return [paths[place] for paths in self._proposed[1]]

    def _rows(self, group: int, number: int) -> Tensor:
        """Indices (every, D) of proposals until an update."""
        generator = make_generator("path", self.seed, group, number)
        return self.controller.propose(self.every, generator).indices


def warmup_path(arch: Arch, space: MnasSpace, probability: float, rng: random.Random) -> Path:
    """Give each decision of ``arch`` its warm-up value with ``probability``.

    A block's are the average of its op and another one, the largest kernel and squeeze ratio,
    pooling as skip, which acts everywhere, and width and depth in the middle of the space: what is
    learned there serves more networks than what the widest and deepest learn, at half the cost.
    """
    blocks = []
    for group in space.groups:
        block, choices = arch.blocks[group[0]], space.choices[group[0]]
        common = {
            "op": _with_another(block.op, choices["op"], rng),
            "kernel": max(choices["kernel"]),
            "se": max(choices["se"]),
            "skip": next(s for s in ("pool", "identity", "none") if s in choices["skip"]),
            "filters": _middle(choices["filters"]),
            "layers": _middle(choices["layers"]),
        }
        changes = {name: common[name] for name in DECISIONS if rng.random() < probability}
        blocks.append(dataclasses.replace(block, **changes))
    return space.repeated(blocks)


def _with_another(op: str, ops: Sequence[str], rng: random.Random) -> str:
    others = [one for one in ops if one != op]
    return mixture([op, rng.choice(others)]) if others else op


def _middle(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
