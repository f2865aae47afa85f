"""CostGradient: independent categoricals that know the gradient of their expected cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search.baseline import Baseline, centre, mean_over_ranks
from search.controller import Goal, Scores
from search.expected_cost import ExpectedCost
from search.policy import IndependentPolicy, Samples
from search.policy_gradient import PolicyGradient
from search.reinforce import Tunas, descend, reinforce_loss


@dataclass(frozen=True)
class DifferentiableCost(Tunas):
    """Settings of ``CostGradient``, which are those of TuNAS."""

    section: ClassVar[str] = "cost_gradient"


class CostGradient(PolicyGradient):
    """Climbs the reward of the expected accuracy and the expected cost of independent decisions.

    The cost is additive, so that its expectation and the gradient of it are exact
    (``ExpectedCost``; ProxylessNAS, sec. 3.2, and FBNet, sec. 3.3, differentiate expected latency).
    The accuracy's gradient is **estimated** by the score function, as TuNAS's is: straight-through
    gates on the factorised decisions would need the largest kernel, width and depth computed at
    every step, and batch norm cancels the scale of a gated kernel.

    The objective differs from the mean reward by the curvature of the reward: it asks for the
    target to be met on average, so that near it samples lie on both sides until the policy settles.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        settings: How it learns.
    """

    policy: IndependentPolicy
    expected_cost: Callable[[Tensor], Tensor]

    def __init__(self, decision_sizes: Sequence[int], settings: DifferentiableCost) -> None:
        super().__init__(IndependentPolicy(decision_sizes), settings)
        self.reward_baseline = Baseline(settings.baseline_decay)

    def prepare(self, goal: Goal) -> None:
        """Tabulate the costs of all blocks."""
        super().prepare(goal)
        self.expected_cost = ExpectedCost(goal.space, goal.cost_model)

    def _update(
        self, samples: Samples, scores: Scores, generator: torch.Generator
    ) -> dict[str, float]:
        settings = self.settings
        gain, _ = centre(scores.accuracy, self.baseline)
        _, scale = centre(scores.reward, self.reward_baseline)
        log_prob, entropy = self.policy.evaluate(samples.indices)
        accuracy = mean_over_ranks(scores.accuracy.mean()).requires_grad_()
        cost = self.expected_cost(self.policy.log_softmax.exp())
        reward = self.goal.reward(accuracy, cost, self.goal.target)
        (slope,) = torch.autograd.grad(reward, accuracy, retain_graph=True)
        # reinforce_loss stands for -accuracy: its gradient is the estimate of that of accuracy.
        loss = slope * reinforce_loss(log_prob, gain) - reward
        loss = loss / (scale if settings.normalise else 1)
        loss = loss - settings.entropy * entropy.sum(dim=1).mean()
        norm = descend(self.optimizer, loss, self.policy, settings.max_grad_norm)
        return {
            "gradient_norm": float(norm),
            "cost/expected": float(cost.detach()),
            "reward/baseline": float(self.reward_baseline.value),
            "reward/accuracy_baseline": float(self.baseline.value),
        }
