"""PPO: several clipped passes of a policy over architectures that it sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from search.controllers.policy import Policy, Samples
from search.controllers.reinforce import Reinforce, descend
from supernet.errors import check_range


@dataclass(frozen=True)
class PPO(Reinforce):
    """Settings of PPO on the LSTM, for searches of some hundreds to a few thousand architectures.

    NASNet (appendix) names PPO but neither clip range nor epochs; its lr of 3.5e-4, entropy weight
    of 1e-5 and baseline decay of 0.95 are for 20,000 samples. These defaults were tuned on a toy of
    42 decisions with 20 samples an update (tests/toys.py).
    """

    section: ClassVar[str] = "ppo"

    epochs: int = 8
    """Passes over the samples of one update."""
    minibatches: int = 1
    """Optimizer steps in one pass."""
    clip: float = 0.2
    """Ratio of new to old probability of a decision beyond which it gains nothing (PPO, eq. 7)."""
    lr: float = 2e-4

    def __post_init__(self) -> None:
        """Refuse settings under which nothing is learned."""
        check_range("ppo.", self, "epochs", "minibatches", least=1)
        check_range("ppo.", self, "clip", above=0, below=1)
        super().__post_init__()

    def update(
        self,
        policy: Policy,
        optimizer: Optimizer,
        samples: Samples,
        advantages: Tensor,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Several passes over the samples, on the log-probabilities stored when they were drawn.

        The generator shuffles this rank's samples, of which there are at least as many as
        minibatches; otherwise see ``Reinforce.update``.

        Returns:
            Means over the optimizer steps of ``clip_fraction``, ``kl`` (nats per architecture) and
            ``gradient_norm`` (before clipping). All but the last are of this rank's samples.
        """
        steps = []
        for _ in range(self.epochs):
            order = torch.randperm(len(advantages), generator=generator).to(advantages.device)
            for rows in order.tensor_split(self.minibatches):
                old = samples.log_prob[rows]
                new, entropy = policy.evaluate(samples.indices[rows], samples.targets[rows])
                loss = ppo_loss(new, old, advantages[rows], self.clip)
                loss = loss - self.entropy * entropy.sum(dim=1).mean()
                norm = descend(optimizer, loss, policy, self.max_grad_norm)
                steps.append(torch.stack([*_divergence(new.detach() - old, self.clip), norm]))
        means = torch.stack(steps).mean(dim=0).tolist()
        return dict(zip(("clip_fraction", "kl", "gradient_norm"), means, strict=True))


def ppo_loss(new_log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Clipped surrogate objective (Schulman et al. 2017, eq. 7), negated: a scalar to minimise.

    Each decision is an action with a ratio of its own: one ratio for a whole architecture leaves
    its range as soon as a few of the 42 factors agree.

    Args:
        new_log_prob: (M, D), differentiable.
        old_log_prob: (M, D), of the policy that drew the samples.
        advantages: (M,), shared by all decisions of an architecture.
        clip: Half-width of the range of ratios around 1.
    """
    ratio = (new_log_prob - old_log_prob).exp()
    gain = advantages[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    return -surrogate.sum(dim=1).mean()


def _divergence(log_ratio: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Share of (M, D) ratios outside the clip range, and KL(old, new) in nats per architecture.

    The KL is the estimator k3 = (r - 1) - log r of Schulman's note "Approximating KL Divergence"
    (2020): never negative, unbiased on samples of the old policy.
    """
    excess = log_ratio.expm1()
    outside = (excess.abs() > clip).to(excess).mean()
    return outside, (excess - log_ratio).sum(dim=1).mean()
