"""Controller: what proposes architectures and learns from their rewards.

Six kinds share the supernet, the evaluator and the budget (``search.controllers.settings`` lists
them). The search knows none of them: it asks for proposals, scores them, and hands the scores back.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from search.objective.objective import Objective
from supernet.space.arch import DECISIONS


@dataclass(frozen=True)
class Proposals:
    """M architectures to score."""

    indices: Tensor
    """(M, D) int64; a row is what ``MnasSpace.decode`` reads."""
    targets: Tensor
    """(M,) int64: the number of the target that each is meant to hit."""


@dataclass(frozen=True)
class Scores:
    """What the M architectures of this rank scored."""

    accuracy: Tensor
    """(M,) in [0, 1], as ``sampling.score`` measures it."""
    cost: Tensor
    """(M,) in the target's unit."""
    reward: Tensor
    """(M,), each under its own target."""
    violation: Tensor | float = 0.0
    """By how much each breaks the constraints, see ``search.objective.constraints.violation``."""


class UpdateStep(NamedTuple):
    """One of the controller's updates, each of which learns from one reward batch."""

    number: int
    """Updates before it."""
    total: int
    """Updates of the whole search, all of them after the warm-up."""

    @property
    def progress(self) -> float:
        """Share of the updates that are done, in [0, 1)."""
        return self.number / self.total


class Controller(nn.Module, ABC):
    """Proposes architectures and learns from their rewards.

    Its state lies in parameters, buffers and ``optimizers``, which a checkpoint holds, and is the
    same on all ranks: each rank proposes and scores its own architectures, as many as every other
    one, and ``learn`` brings them together. Proposing changes nothing, so that a resumed search
    proposes what it would have. ``targets`` says how many targets it learns to hit.
    """

    def __init__(self, targets: int = 1) -> None:
        super().__init__()
        self.num_targets = targets

    def prepare(self, objective: Objective) -> None:
        """Take note of what is searched for, before the first step."""
        self.objective = objective

    @property
    def optimizers(self) -> list[Optimizer]:
        """What else a checkpoint must hold; ``learn`` makes their steps."""
        return []

    @abstractmethod
    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Architectures to train or to score; equal states of the generator give equal ones.

        Each is for a target of its own, see ``draw_targets``. The generator may live on another
        device than the controller.
        """

    @abstractmethod
    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, step: UpdateStep
    ) -> dict[str, float]:
        """Learn from what one call of ``propose`` gave, as many on this rank as on every other.

        The scores are on the controller's device and the generator, one for each rank, on the CPU.
        Returns what to log; docs/metrics.md explains it.
        """

    @abstractmethod
    def finalists(self, num: int, generator: torch.Generator, target: int = 0) -> Tensor:
        """(K, D) architectures for the final choice among those for one target; K <= 1 + num.

        The favourite is the first.
        """

    @abstractmethod
    def preferences(self, indices: Tensor, target: int = 0) -> Tensor:
        """(M, D, V) log-probabilities in nats of each decision's values, beside (M, D) indices."""

    def reconsider(self, rewards: Callable[[int, Tensor], Tensor]) -> None:
        """Take new rewards for those remembered, as what scores architectures has learned.

        A policy remembers none. ``rewards`` gives, for the number of a target, those (M,) of
        architectures (M, D) on the controller's device.
        """

    def _rewards(self, scores: Scores) -> list[Tensor]:
        """The rewards (M,) under each target: accuracy and cost are the same under all."""
        if self.num_targets == 1:
            return [scores.reward]
        return [
            self.objective.rewards(scores.accuracy, scores.cost, target.cost, scores.violation)
            for target in self.objective.targets
        ]


def draw_targets(num: int, targets: int, generator: torch.Generator) -> Tensor:
    """(num,) numbers of targets in random order, of each as many as of any other, give or take one.

    A single target takes nothing from the generator.
    """
    if targets == 1:
        return torch.zeros(num, dtype=torch.long, device=generator.device)
    device = generator.device
    order = torch.randperm(targets, generator=generator, device=device)
    repeated = order.repeat(-(-num // targets))[:num]
    return repeated[torch.randperm(num, generator=generator, device=device)]


def entropy_logs(entropy: Tensor) -> dict[str, float]:
    """Mean entropy in nats of each kind of decision and of each decision, from (M, D)."""
    blocks = entropy.mean(dim=0).unflatten(0, (-1, len(DECISIONS)))
    kinds = zip(DECISIONS, blocks.mean(dim=0).tolist(), strict=True)
    return {f"entropy/{kind}": mean for kind, mean in kinds} | {
        f"decision_entropy/b{number}_{kind}": value
        for number, block in enumerate(blocks.tolist(), 1)
        for kind, value in zip(DECISIONS, block, strict=True)
    }
