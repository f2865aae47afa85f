"""What is free when: warm-up, uniform sampling, policy."""

from __future__ import annotations

import dataclasses
import math
import random
from dataclasses import dataclass

from supernet.errors import UserError, check_range
from supernet.space.arch import DECISIONS, MIXED, Arch, BlockChoice, Path
from supernet.space.mnasnet import MnasSpace


@dataclass(frozen=True)
class Schedule:
    """Shares of a search's weight steps, so that a recipe holds for any length.

    Up to ``warmup``, each decision takes its all-enabling value with a probability that falls
    linearly from 1 to 0 (TuNAS, sec. 4.2, who warm up ops and filters; here every decision, without
    which the space does not train). Then paths are uniform, until at ``uniform`` the controller
    takes over. The learning rate of the weights falls to ``floor`` by then, so that the rewards
    are of weights that have settled.
    """

    warmup: float = 0.5
    """Share of the steps with warm-up paths."""
    stream: float = 0.7
    """Share of the steps over which the shared shortcuts fade to nothing."""
    uniform: float = 0.8
    """Share of the steps before the controller learns and chooses the paths."""
    floor: float = 0.05
    """Learning rate of the weights under the policy, as a share of the largest."""
    ramp: float = 0.03
    """Share of the steps over which that learning rate rises from 0 at the start."""

    def __post_init__(self) -> None:
        """Refuse shares out of order."""
        if not 0 <= self.warmup <= self.uniform < 1 or not 0 <= self.stream <= self.uniform:
            raise UserError(
                "schedule: 0 <= warmup, stream <= uniform < 1 must hold, got"
                f" warmup {self.warmup}, stream {self.stream}, uniform {self.uniform}"
            )
        check_range("schedule.", self, "floor", least=0, most=1)
        check_range("schedule.", self, "ramp", least=0, below=1)

    def warmup_probability(self, progress: float) -> float:
        """Probability that a decision takes its all-enabling value; ``progress`` in [0, 1]."""
        return _fading(progress, self.warmup)

    def stream_weight(self, progress: float) -> float:
        """Weight of the shortcuts that all ops share."""
        return _fading(progress, self.stream)

    def learning_rate(self, progress: float) -> float:
        """Factor on the largest learning rate of the weights: ramp, cosine, floor."""
        if progress < self.ramp:
            return progress / self.ramp
        done = min(1.0, progress / self.uniform)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))

    def update_steps(self, total: int, every: int) -> range:
        """The steps of ``total`` after which the controller learns, one in ``every``."""
        first = next(step for step in range(0, total, every) if step / total >= self.uniform)
        return range(first, total, every)


def _fading(progress: float, end: float) -> float:
    return max(0.0, 1 - progress / end) if end else 0.0


def warmup_path(arch: Arch, space: MnasSpace, probability: float, rng: random.Random) -> Path:
    """Give each decision of ``arch`` its all-enabling value with ``probability``.

    Largest filters, layers, kernel and squeeze ratio; pooling as skip, which acts everywhere; and
    the average of all ops.
    """
    return Arch(
        tuple(
            _enabled(block, choices, probability, rng)
            for block, choices in zip(arch.blocks, space.choices, strict=True)
        )
    )


def _enabled(
    block: BlockChoice, choices: dict[str, tuple], probability: float, rng: random.Random
) -> BlockChoice:
    largest = {name: max(values) for name, values in choices.items()}
    largest["op"] = MIXED if len(choices["op"]) > 1 else choices["op"][0]
    largest["skip"] = next(s for s in ("pool", "identity", "none") if s in choices["skip"])
    changes = {name: largest[name] for name in DECISIONS if rng.random() < probability}
    return dataclasses.replace(block, **changes)
