"""Regularised evolution (Real et al. 2019): a population in which the oldest dies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search.archive import Archive
from search.baseline import gather_rows
from search.controller import Controller, Proposals, Scores, Turn, entropy_logs
from search.random_search import draw_uniform
from supernet.errors import UserError


@dataclass(frozen=True)
class Evolution:
    """Settings of regularised evolution, for a few thousand architectures.

    Real et al. (sec. 3) have a population of 100 and tournaments of 25 for 20,000 architectures.
    """

    population: int = 50
    """How many of the youngest architectures may be parents."""
    tournament: int = 12
    """How many of these compete to become one."""

    def __post_init__(self) -> None:
        """Refuse a population without parents.

        Raises:
            UserError: naming the key, its value and its limit.
        """
        for key in ("population", "tournament"):
            if getattr(self, key) < 1:
                raise UserError(f"evolution.{key} is {getattr(self, key)}, it must be at least 1")


class RegularisedEvolution(Controller):
    """Mutates winners of tournaments among the youngest (Real et al. 2019, algorithm 1).

    A child differs from its parent in one decision, drawn uniformly, which takes one of its other
    values. The paper's cycle of one child becomes a batch: all children of an update have parents
    from the population before it, and all ranks hold the same population, into which the children
    go in the order of ranks. Until the population is full, architectures are uniform.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        settings: Size of population and tournament.
        keep: How many architectures are remembered for the final choice; they do not die.
    """

    sizes: Tensor
    mutable: Tensor
    indices: Tensor
    rewards: Tensor

    def __init__(self, decision_sizes: Sequence[int], settings: Evolution, keep: int) -> None:
        super().__init__()
        sizes = torch.tensor(decision_sizes)
        self.settings = settings
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("mutable", (sizes > 1).nonzero().flatten(), persistent=False)
        # Oldest first; minus infinity marks places that nothing has filled yet.
        self.register_buffer("indices", sizes.new_zeros(settings.population, len(sizes)))
        self.register_buffer("rewards", torch.full((settings.population,), -torch.inf))
        self.archive = Archive(keep, len(sizes))

    @property
    def is_full(self) -> bool:
        """Whether there are parents."""
        return bool((self.rewards > -torch.inf).all())

    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Children of tournament winners, or uniform ones while the population fills."""
        if not self.is_full:
            return Proposals(draw_uniform(self.sizes, num, generator))
        return Proposals(self._mutate(self._parents(num, generator), generator))

    def _parents(self, num: int, generator: torch.Generator) -> Tensor:
        """(num, D): winners of tournaments whose members are drawn with replacement."""
        shape = (num, self.settings.tournament)
        drawn = torch.randint(
            len(self.rewards), shape, generator=generator, device=generator.device
        )
        drawn = drawn.to(self.rewards.device)
        winners = self.rewards[drawn].argmax(dim=1, keepdim=True)
        return self.indices[drawn.gather(1, winners).squeeze(1)]

    def _mutate(self, parents: Tensor, generator: torch.Generator) -> Tensor:
        """(M, D) copies with one decision changed; as they are where no decision has a choice."""
        if not len(self.mutable):
            return parents
        num = len(parents)
        places = self.mutable[draw_uniform(self._of(len(self.mutable)), num, generator)]
        others = self.sizes[places] - 1
        share = draw_uniform(others.flatten(), 1, generator).view_as(places)
        mutated = (parents.gather(1, places) + 1 + share) % self.sizes[places]
        return parents.scatter(1, places, mutated)

    def _of(self, size: int) -> Tensor:
        return self.sizes.new_tensor([size])

    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, turn: Turn
    ) -> dict[str, float]:
        """Let the children of all ranks in and the oldest die."""
        indices, rewards = gather_rows(proposals.indices), gather_rows(scores.reward)
        self.archive.add(indices, rewards)
        kept = len(self.rewards)
        self.indices = torch.cat([self.indices, indices])[-kept:].clone()
        self.rewards = torch.cat([self.rewards, rewards.to(self.rewards)])[-kept:].clone()
        alive = self.rewards > -torch.inf
        logs = {
            "archive/best": float(self.archive.rewards[0]),
            "evolution/population": float(self.rewards[alive].mean()),
        }
        return logs | entropy_logs(self._entropy(self.indices[alive]))

    def _entropy(self, indices: Tensor) -> Tensor:
        """(1, D): entropy in nats of each decision's values among (P, D) architectures."""
        shares = functional.one_hot(indices, int(self.sizes.max())).double().mean(dim=0)
        return torch.special.entr(shares).sum(dim=1)[None]

    def finalists(self, num: int, generator: torch.Generator) -> Tensor:
        """The best-rewarded architectures of all generations."""
        return self.archive.best[: 1 + num]
