"""Controller: what proposes architectures and learns from their rewards.

Six kinds share the supernet, the evaluator and the budget (``search.controllers`` lists them). The
search knows none of them: it asks for proposals, scores them, and hands the scores back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from search.reward import Reward
from supernet.arch import DECISIONS
from supernet.space import MnasSpace
from supernet.target import CostModel


@dataclass(frozen=True)
class Proposals:
    """Architectures to score."""

    indices: Tensor
    """(M, D) int64; a row is what ``MnasSpace.decode`` reads."""


@dataclass(frozen=True)
class Scores:
    """What the architectures of this rank scored, each (M,)."""

    accuracy: Tensor
    """In [0, 1]."""
    cost: Tensor
    """In the target's unit."""
    reward: Tensor


class Turn(NamedTuple):
    """Which of the controller's updates this is."""

    number: int
    """From 0."""
    updates: int
    """In the whole search, all of them after the warm-up."""

    @property
    def progress(self) -> float:
        """Share of the updates that are done, in [0, 1)."""
        return self.number / self.updates


@dataclass(frozen=True)
class Goal:
    """What a search is after, known when the device has been measured."""

    space: MnasSpace
    cost_model: CostModel
    reward: Reward
    target: float


class Update(NamedTuple):
    """What one update of the controller saw and logged, on this rank."""

    turn: Turn
    images: int
    """Of the reward batch."""
    proposals: Proposals
    scores: Scores
    logs: dict[str, float]
    """What ``Controller.learn`` returned."""


class Controller(nn.Module, ABC):
    """Proposes architectures and learns from their rewards.

    Its state lies in parameters, buffers and ``optimizers``, which a checkpoint holds, and is the
    same on all ranks: each rank proposes and scores its own architectures, as many as every other
    one, and ``learn`` brings them together. Proposing changes nothing, so that a resumed search
    proposes what it would have.
    """

    def prepare(self, goal: Goal) -> None:
        """Take note of what is searched for, before the first step."""
        self.goal = goal

    @property
    def optimizers(self) -> list[Optimizer]:
        """What else a checkpoint must hold; ``learn`` makes their steps."""
        return []

    @abstractmethod
    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Architectures to train or to score; equal states of the generator give equal ones.

        Args:
            num: How many.
            generator: May live on another device than the controller.
        """

    @abstractmethod
    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, turn: Turn
    ) -> dict[str, float]:
        """Learn from what one call of ``propose`` gave.

        Args:
            proposals: Of this rank, as many as on every other rank.
            scores: Of these, on the controller's device.
            generator: On the CPU, of this rank.
            turn: Where the controller stands in its budget.

        Returns:
            What to log; docs/metrics.md explains it.
        """

    @abstractmethod
    def finalists(self, num: int, generator: torch.Generator) -> Tensor:
        """(K, D) architectures to choose the final one from, the favourite first; K <= 1 + num."""


def entropy_logs(entropy: Tensor) -> dict[str, float]:
    """Mean entropy of each kind of decision and of each decision, from (M, D), kinds in turn."""
    blocks = entropy.mean(dim=0).unflatten(0, (-1, len(DECISIONS)))
    kinds = zip(DECISIONS, blocks.mean(dim=0).tolist(), strict=True)
    return {f"entropy/{kind}": mean for kind, mean in kinds} | {
        f"decision_entropy/b{number}_{kind}": value
        for number, block in enumerate(blocks.tolist(), 1)
        for kind, value in zip(DECISIONS, block, strict=True)
    }
