"""CostGradient: independent categoricals that know the gradient of their expected cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search.controllers.controller import Scores
from search.controllers.policy import IndependentPolicy, Samples
from search.controllers.policy_gradient import Baseline, PolicyGradient, centre, gather_mean_std
from search.controllers.ppo_and_reinforce import Reinforce, reinforce_loss
from search.objective.costs import BlockCosts
from search.objective.objective import Objective
from supernet.errors import UserError


@dataclass(frozen=True)
class DifferentiableCost(Reinforce):
    """Settings of ``CostGradient``, which are those of TuNAS."""

    section: ClassVar[str] = "cost_gradient"

    lr: float = 0.1


class CostGradient(PolicyGradient):
    """Climbs the reward of the expected accuracy and the expected cost of independent decisions.

    The cost is additive, so that its expectation and the gradient of it are exact
    (``BlockCosts.expected``; ProxylessNAS, sec. 3.2, and FBNet, sec. 3.3, differentiate
    expected latency).
    The accuracy's gradient is **estimated** by the score function, as TuNAS's is: straight-through
    gates on the factorised decisions would need the largest kernel, width and depth computed at
    every step, and batch norm cancels the scale of a gated kernel.

    The objective differs from the mean reward by the curvature of the reward: it asks for the
    target to be met on average, so that near it samples lie on both sides until the policy settles.
    Each target has decisions of its own.
    """

    policy: IndependentPolicy

    def __init__(
        self, decision_sizes: Sequence[int], settings: DifferentiableCost, targets: int = 1
    ) -> None:
        super().__init__(IndependentPolicy(decision_sizes, targets), settings, targets)
        self.reward_baseline = Baseline(settings.baseline_decay, targets)

    def prepare(self, objective: Objective) -> None:
        """Refuse a constraint on what has no gradient.

        Raises:
            UserError: for peak memory.
        """
        super().prepare(objective)
        if any(limit.costs.is_peak for limit in objective.constraints):
            raise UserError(
                "controller.kind is cost_gradient, which has no gradient of peak memory: drop the"
                " constraint on memory or take another controller, such as ppo"
            )

    def _update(
        self, samples: Samples, scores: Scores, generator: torch.Generator
    ) -> dict[str, float]:
        numbers = samples.targets
        gain, _ = centre(scores.accuracy, self.baseline, numbers)
        _, scale = centre(scores.reward, self.reward_baseline, numbers)
        scale = scale if self.settings.normalise else torch.ones_like(scale)
        log_prob, entropy = self.policy.evaluate(samples.indices, numbers)
        cost = self._expected(self.objective.costs)
        # A target without samples has no mean, and then no part.
        accuracy, _ = gather_mean_std(scores.accuracy, numbers, self.num_targets)
        accuracy = accuracy.nan_to_num(0.0).requires_grad_()
        limits = self.objective.limits(torch.arange(self.num_targets)).to(cost)
        reward = self.objective.rewards(accuracy, cost, limits, self._expected_violation())
        (slope,) = torch.autograd.grad(reward.sum(), accuracy, retain_graph=True)
        # reinforce_loss stands for -accuracy: its gradient is the estimate of that of accuracy.
        loss = reinforce_loss(log_prob, gain * slope[numbers] / scale)
        loss = loss - (reward[numbers] / scale).mean()
        return {
            "gradient_norm": float(self._descend(loss, entropy)),
            "cost/expected": float(cost.detach().mean()),
            "reward/baseline": float(self.reward_baseline.value.nanmean()),
            "reward/accuracy_baseline": float(self.baseline.value.nanmean()),
        }

    def _expected(self, costs: BlockCosts) -> Tensor:
        """(K,): expected cost of the architectures for each target, differentiable."""
        return torch.stack([costs.expected(one.exp()) for one in self.policy.log_probabilities])

    def _expected_violation(self) -> Tensor | float:
        """(K,): violation by the expected use of each constraint, for each target."""
        uses = [
            self._expected(limit.costs) / limit.value - 1 for limit in self.objective.constraints
        ]
        return torch.stack(uses).clamp(min=0).sum(0) if uses else 0.0
