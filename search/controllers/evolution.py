"""Regularised evolution (Real et al. 2019): a population in which the oldest dies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.controllers.controller import Proposals, Scores, UpdateStep, draw_targets, entropy_logs
from search.controllers.random_search import Archive, ArchiveController, Store, draw_uniform
from supernet.errors import check_range
from supernet.run.distributed import gather_rows


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
        check_range("evolution.", self, "population", "tournament", least=1)


class RegularisedEvolution(ArchiveController):
    """Mutates winners of tournaments among the youngest (Real et al. 2019, algorithm 1).

    A child differs from its parent in one decision, drawn uniformly, which takes one of its other
    values. The paper's cycle of one child becomes a batch: all children of an update have parents
    from the population before it, and all ranks hold the same population, into which the children
    go in the order of ranks. Until the population is full, architectures are uniform.

    Each target has a population, into which the children of its own members go; the uniform ones
    of the start go into all. For the final choice it remembers ``keep``, which do not die.
    """

    mutable: Tensor
    """Numbers of the decisions that have a choice, int64."""

    def __init__(
        self, decision_sizes: Sequence[int], settings: Evolution, keep: int, targets: int = 1
    ) -> None:
        num, size = len(decision_sizes), settings.population
        populations = [Population(size, keep, num) for _ in range(targets)]
        super().__init__(decision_sizes, [one.archive for one in populations])
        self.settings, self._populations = settings, populations
        mutable = (self.sizes > 1).nonzero().flatten()
        self.register_buffer("mutable", mutable, persistent=False)
        self.populations = nn.ModuleList(populations)

    @property
    def is_full(self) -> bool:
        """Whether there are parents: all populations fill at the same time."""
        return bool((self._populations[0].rewards > -torch.inf).all())

    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Children of tournament winners, or uniform ones while the populations fill."""
        targets = draw_targets(num, self.num_targets, generator).to(self.sizes.device)
        if not self.is_full:
            return Proposals(draw_uniform(self.sizes, num, generator), targets)
        children = self.sizes.new_empty(num, len(self.sizes))
        for number, population in enumerate(self._populations):
            mine = targets == number
            num_mine, tournament = int(mine.sum()), self.settings.tournament
            parents = population.parents(num_mine, tournament, generator)
            children[mine] = self._mutate(parents, generator)
        return Proposals(children, targets)

    def _mutate(self, parents: Tensor, generator: torch.Generator) -> Tensor:
        """(M, D) copies with one decision changed; as they are where no decision has a choice."""
        if not len(self.mutable):
            return parents
        num = len(parents)
        num_mutable = self.sizes.new_tensor([len(self.mutable)])
        places = self.mutable[draw_uniform(num_mutable, num, generator)]
        others = self.sizes[places] - 1
        share = draw_uniform(others.flatten(), 1, generator).view_as(places)
        mutated = (parents.gather(1, places) + 1 + share) % self.sizes[places]
        return parents.scatter(1, places, mutated)

    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, step: UpdateStep
    ) -> dict[str, float]:
        """Let the children of all ranks in and the oldest die."""
        indices, targets = gather_rows(proposals.indices), gather_rows(proposals.targets)
        full = self.is_full
        own = map(gather_rows, self._rewards(scores))
        for number, (population, rewards) in enumerate(zip(self._populations, own, strict=True)):
            population.archive.add(indices, rewards)
            mine = targets == number if full else slice(None)
            population.add(indices[mine], rewards[mine])
        means = [float(one.rewards[one.rewards > -torch.inf].mean()) for one in self._populations]
        logs = {"archive/best": self._best_reward, "evolution/population": fmean(means)}
        values = int(self.sizes.max())
        held = [functional.one_hot(one.held, values).double() for one in self._populations]
        shares = torch.stack([ones.mean(dim=0) for ones in held])
        return logs | entropy_logs(torch.special.entr(shares).sum(dim=2))

    def reconsider(self, rewards: Callable[[int, Tensor], Tensor]) -> None:
        """Reward what is remembered anew, the living too."""
        super().reconsider(rewards)
        for number, population in enumerate(self._populations):
            population.reconsider(partial(rewards, number))


class Population(Store):
    """A queue of architectures, oldest first, and an archive that keeps the ``keep`` best."""

    def __init__(self, capacity: int, keep: int, decisions: int) -> None:
        super().__init__(capacity, decisions)
        self.archive = Archive(keep, decisions)

    def parents(self, num: int, tournament: int, generator: torch.Generator) -> Tensor:
        """(num, D): winners of tournaments whose members are drawn with replacement."""
        shape, size = (num, tournament), len(self.rewards)
        drawn = torch.randint(size, shape, generator=generator, device=generator.device)
        drawn = drawn.to(self.rewards.device)
        winners = self.rewards[drawn].argmax(dim=1, keepdim=True)
        return self.indices[drawn.gather(1, winners).squeeze(1)]

    def add(self, indices: Tensor, rewards: Tensor) -> None:
        """Let (M, D) architectures with (M,) rewards in and the oldest out."""
        size = len(self.rewards)
        self.indices = torch.cat([self.indices, indices])[-size:].clone()
        self.rewards = torch.cat([self.rewards, rewards.to(self.rewards)])[-size:].clone()
