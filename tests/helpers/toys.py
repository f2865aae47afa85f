"""Toy rewards over the decisions of a space, whose optimum is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from search.controllers.controller import Scores, UpdateStep
from search.controllers.cost_gradient import CostGradient
from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from search.objective.targets import Target
from supernet.run.distributed import step_seed


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy_objective(reward, *targets, space=None, cost_model=None, constraints=(), costs=None):
    """An objective with targets by their costs."""
    named = tuple(Target(str(cost), cost) for cost in targets)
    costs = BlockCosts(space, cost_model) if space else costs
    return Objective(costs, reward, named, constraints)


@dataclass(frozen=True)
class ToyCosts:
    """What stands for the block costs of a space: a function of probabilities (D, V)."""

    expected: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Toy:
    """The mean over decisions of random scores, plus one of random scores of neighbours.

    ``single`` is (D, V) and ``pair`` (D - 1, V, V), of each decision with the next one. Odd
    decisions' single scores are a cost, subtracted, for controllers that know the cost's gradient.
    """

    sizes: tuple[int, ...]
    single: Tensor
    pair: Tensor
    noise: float = 0.0
    """Standard deviation of what is added to the accuracy each time that one is scored."""

    @staticmethod
    def draw(sizes, seed, interaction, noise=0.0):
        """``interaction`` is the range of pair scores beside single ones in [0, 1]."""
        rng, most = generator(seed), max(sizes)
        single = torch.rand(len(sizes), most, generator=rng)
        pair = interaction * torch.rand(len(sizes) - 1, most, most, generator=rng)
        return Toy(tuple(sizes), single, pair, noise)

    def accuracy_and_cost(self, indices):
        single = self.single.gather(1, indices.T)
        places = torch.arange(len(self.pair))
        pair = self.pair[places, indices[:, :-1], indices[:, 1:]].sum(dim=1)
        return (single[::2].sum(dim=0) + pair) / len(self.sizes), self._cost(single)

    def _cost(self, single):
        return -single[1::2].sum(dim=0) / len(self.sizes)

    def scores(self, indices, rng=None):
        accuracy, cost = self.accuracy_and_cost(indices)
        if rng:
            accuracy = accuracy + self.noise * torch.randn(len(accuracy), generator=rng)
        return Scores(accuracy, cost, accuracy - cost)

    def expected_cost(self, probabilities):
        return self._cost((probabilities * self.single).sum(dim=1))

    @property
    def objective(self):
        costs = ToyCosts(self.expected_cost)
        return toy_objective(lambda accuracy, cost, _: accuracy - cost, 1.0, costs=costs)

    @property
    def single_best(self):
        """(D,): each decision's best value on its own."""
        exists = torch.arange(self.single.shape[1]) < torch.tensor(self.sizes)[:, None]
        return self.single.where(exists, -1.0).argmax(dim=1)

    @property
    def optimum(self):
        """The best reward, by dynamic programming along the chain of decisions."""
        best = self.single[0, : self.sizes[0]]
        for place, size in enumerate(self.sizes[1:]):
            steps = best[:, None] + self.pair[place, : len(best), :size]
            best = steps.amax(dim=0) + self.single[place + 1, :size]
        return float(best.max()) / len(self.sizes)

    def share(self, code):
        """The reward of (D,) indices over the best."""
        return float(self.scores(code[None]).reward[0]) / self.optimum


@dataclass(frozen=True)
class PricedToy:
    """Dear values are mostly the better ones, at prices that differ between decisions.

    ``accuracy`` and ``cost`` are (D, V), the cost's mean over all architectures is 1. The reward is
    accuracy - abs(cost / target - 1), so that each target asks for other decisions.
    """

    sizes: tuple[int, ...]
    accuracy: Tensor
    cost: Tensor

    @staticmethod
    def draw(sizes, seed):
        rng, count, most = generator(seed), len(sizes), max(sizes)
        rank = torch.arange(most) / (torch.tensor(sizes)[:, None] - 1).clamp(min=1)
        price = torch.randn(count, 1, generator=rng).mul(0.8).exp()
        cost = price * (rank + 0.3)
        exists = torch.arange(most) < torch.tensor(sizes)[:, None]
        mean = (cost * exists).sum() / exists.sum() * count
        accuracy = rank * torch.rand(count, 1, generator=rng)
        accuracy = accuracy + 0.5 * torch.rand(count, most, generator=rng)
        return PricedToy(tuple(sizes), accuracy, cost / mean)

    def objective(self, targets):
        costs = ToyCosts(lambda share: (share * self.cost).sum())
        return toy_objective(
            lambda acc, cost, target: acc - abs(cost / target - 1), *targets, costs=costs
        )

    def scores(self, objective, indices, numbers):
        accuracy = self.accuracy.gather(1, indices.T).mean(dim=0)
        cost = self.cost.gather(1, indices.T).sum(dim=0)
        return Scores(accuracy, cost, objective.reward(accuracy, cost, objective.limits(numbers)))

    def learn(self, controller, targets, updates, samples):
        """Let a controller learn all targets; the rewards that its favourites reach, (K,)."""
        objective = controller.objective = self.objective(targets)
        for step in range(updates):
            proposals = controller.propose(samples, generator(1000 + step))
            scores = self.scores(objective, proposals.indices, proposals.targets)
            controller.learn(proposals, scores, generator(step), UpdateStep(step, updates))
        numbers = torch.arange(len(targets))
        codes = [controller.finalists(1, generator(0), number)[0] for number in numbers.tolist()]
        return self.scores(objective, torch.stack(codes), numbers).reward


def train(controller, toy, seed, updates, samples=20, start=0):
    """Let a controller learn a toy; yields after each update."""
    if isinstance(controller, CostGradient):
        controller.objective = toy.objective
    for step in range(start, updates):
        proposals = controller.propose(samples, generator(100_000 + 1000 * seed + step))
        scores = toy.scores(proposals.indices, generator(step_seed(1, seed, step)))
        controller.learn(proposals, scores, generator(step), UpdateStep(step, updates))
        yield
