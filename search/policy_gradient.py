"""PolicyGradient: a policy that learns from rewards alone, by PPO or REINFORCE."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from search.baseline import Baseline, advantages
from search.controller import Controller, Proposals, Scores, Turn, draw_targets, entropy_logs
from search.policy import Policy, Samples
from search.reinforce import Reinforce, adam

OVERSAMPLING = 16
"""Samples for each finalist: while decisions are still open, most samples are far from the best."""


class PolicyGradient(Controller):
    """Samples architectures from a policy and makes the good ones likelier.

    Args:
        policy: The LSTM or independent categoricals.
        settings: How it learns: ``PPO``, ``Reinforce`` or ``Tunas``.
        targets: How many the policy knows.
    """

    def __init__(self, policy: Policy, settings: Reinforce, targets: int = 1) -> None:
        super().__init__(targets)
        self.policy, self.settings = policy, settings
        self.baseline = Baseline(settings.baseline_decay, targets)
        self.optimizer = adam(policy.parameters(), settings.lr)

    @property
    def optimizers(self) -> list[Optimizer]:
        """Adam's moments."""
        return [self.optimizer]

    def propose(self, num: int, generator: torch.Generator) -> Samples:
        """Draw from the policy."""
        return self.policy.sample(num, generator, draw_targets(num, self.num_targets, generator))

    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, turn: Turn
    ) -> dict[str, float]:
        """One update of the policy; logs its statistics and the entropies before the update."""
        samples = cast(Samples, proposals)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(turn)
        return self._update(samples, scores, generator) | entropy_logs(samples.entropy)

    def _update(
        self, samples: Samples, scores: Scores, generator: torch.Generator
    ) -> dict[str, float]:
        gain = advantages(scores.reward, self.baseline, samples.targets, self.settings.normalise)
        logs = self.settings.update(self.policy, self.optimizer, samples, gain, generator)
        return {**logs, "reward/baseline": float(self.baseline.value.nanmean())}

    def finalists(self, num: int, generator: torch.Generator, target: int = 0) -> Tensor:
        """The greedy choice and the ``num`` likeliest of many samples, the likeliest first.

        Fewer where a policy that has narrowed down draws too few that differ.
        """
        many = OVERSAMPLING * num
        drawn = self.policy.sample(many, generator, torch.full((many,), target))
        order = drawn.log_prob.sum(dim=1).argsort(descending=True, stable=True)
        rows = [self.policy.greedy(target).tolist(), *drawn.indices[order].tolist()]
        distinct = dict.fromkeys(map(tuple, rows))
        return drawn.indices.new_tensor(list(distinct)[: 1 + num])

    @torch.no_grad()
    def preferences(self, indices: Tensor, target: int = 0) -> Tensor:
        """What the policy thinks of each value after the decisions before it."""
        return self.policy.log_softmax(indices, torch.full((len(indices),), target))
