"""PolicyGradient: a policy that learns from rewards alone, by PPO or REINFORCE."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from search.baseline import Baseline, advantages
from search.controller import Controller, Proposals, Scores, Turn, entropy_logs
from search.policy import Policy, Samples
from search.reinforce import Reinforce, adam


class PolicyGradient(Controller):
    """Samples architectures from a policy and makes the good ones likelier.

    Args:
        policy: The LSTM or independent categoricals.
        settings: How it learns: ``PPO``, ``Reinforce`` or ``Tunas``.
    """

    def __init__(self, policy: Policy, settings: Reinforce) -> None:
        super().__init__()
        self.policy, self.settings = policy, settings
        self.baseline = Baseline(settings.baseline_decay)
        self.optimizer = adam(policy.parameters(), settings.lr)

    @property
    def optimizers(self) -> list[Optimizer]:
        """Adam's moments."""
        return [self.optimizer]

    def propose(self, num: int, generator: torch.Generator) -> Samples:
        """Draw from the policy."""
        return self.policy.sample(num, generator)

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
        gain = advantages(scores.reward, self.baseline, self.settings.normalise)
        logs = self.settings.update(self.policy, self.optimizer, samples, gain, generator)
        return {**logs, "reward/baseline": float(self.baseline.value)}

    def finalists(self, num: int, generator: torch.Generator) -> Tensor:
        """The greedy choice and ``num`` samples."""
        drawn = self.policy.sample(num, generator).indices
        return torch.cat([self.policy.greedy()[None], drawn])
