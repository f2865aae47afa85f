"""PolicyGradient: a policy that learns from rewards alone, by PPO or REINFORCE."""

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from search.controllers.controller import (
    Controller,
    Proposals,
    Scores,
    UpdateStep,
    draw_targets,
    entropy_logs,
)
from search.controllers.policy import Policy, Samples
from search.controllers.ppo_and_reinforce import Reinforce
from supernet.run.distributed import mean_over_ranks

RESOLUTION = 1e-6
"""Differences of reward below this are rounding; no normalisation may blow them up."""


class Baseline(nn.Module):
    """Moving average of the mean reward, zero-debiased (NASNet, appendix).

    Zero-debiasing divides by the weight gathered so far, so that the first value is the first mean
    and no start value has to be guessed. ``decay`` is the weight of the past in each update, in
    [0, 1); each of K targets has an average of its own.
    """

    total: Tensor
    """(K,) weighed sums of the means."""
    weight: Tensor
    """(K,) weights gathered so far, in [0, 1)."""

    def __init__(self, decay: float, targets: int = 1) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("total", torch.zeros(targets))
        self.register_buffer("weight", torch.zeros(targets))

    @torch.no_grad()
    def update(self, mean: Tensor) -> Tensor:
        """Take in the mean rewards (K,) over all ranks and return the new values, (K,).

        NaN leaves a target's average as it was. TuNAS (search code) also updates before use.
        """
        seen = ~mean.isnan()
        share = 1 - self.decay
        self.total.copy_(self.total.lerp(mean.to(self.total), share).where(seen, self.total))
        self.weight.copy_(self.weight.lerp(seen.to(self.weight), share).where(seen, self.weight))
        return self.value

    @property
    def value(self) -> Tensor:
        """The averages (K,); NaN before the first update."""
        return self.total / self.weight


def centre(rewards: Tensor, baseline: Baseline, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Update the baseline; the rewards' distances from it, and what these are divided by.

    Args:
        rewards: (M,) of this rank's samples.
        baseline: Alike on all ranks, before and afterwards.
        targets: (M,) numbers of their targets.

    Returns:
        Distances (M,), and root mean square distances (M,) of the same target over all ranks.
        Unlike the standard deviation these stay in proportion when a policy near its end draws
        equal rewards.
    """
    mean, std = gather_mean_std(rewards, targets, len(baseline.total))
    usual = baseline.update(mean).to(rewards)
    scale = torch.hypot(std, mean - usual).clamp(min=RESOLUTION)
    return rewards - usual[targets], scale[targets]


def gather_mean_std(
    rewards: Tensor, targets: Tensor, num_targets: int = 1
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (biased) of each target's rewards over all ranks, (K,).

    NaN where a target has none. ``rewards`` (M,) are of this rank, each for one of ``targets``.
    """
    values = rewards.double()
    powers = torch.stack([torch.ones_like(values), values, values.square()])
    sums = powers.new_zeros(3, num_targets).index_add(1, targets, powers)
    moments = mean_over_ranks(sums)
    mean, square = moments[1:] / moments[0]
    std = (square - mean.square()).clamp(min=0).sqrt()
    return mean.to(rewards), std.to(rewards)


OVERSAMPLING = 16
"""Samples for each finalist: while decisions are still open, most samples are far from the best."""


class PolicyGradient(Controller):
    """Samples architectures from a policy that knows the targets; makes the good ones likelier."""

    def __init__(self, policy: Policy, settings: Reinforce, targets: int = 1) -> None:
        super().__init__(targets)
        self.policy, self.settings = policy, settings
        self.baseline = Baseline(settings.baseline_decay, targets)
        # beta1 = 0, as momentum outlives a policy (TuNAS, search code).
        self.optimizer = Adam(policy.parameters(), lr=settings.lr, betas=(0.0, 0.999))

    @property
    def optimizers(self) -> list[Optimizer]:
        """Adam's moments."""
        return [self.optimizer]

    def propose(self, num: int, generator: torch.Generator) -> Samples:
        """Draw from the policy."""
        return self.policy.sample(num, generator, draw_targets(num, self.num_targets, generator))

    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, step: UpdateStep
    ) -> dict[str, float]:
        """One update of the policy; logs its statistics and the entropies before the update."""
        assert isinstance(proposals, Samples), "the policy has drawn them"
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(step)
        return self._update(proposals, scores, generator) | entropy_logs(proposals.entropy)

    def _update(
        self, samples: Samples, scores: Scores, generator: torch.Generator
    ) -> dict[str, float]:
        gain, scale = centre(scores.reward, self.baseline, samples.targets)
        gain = gain / scale if self.settings.normalise else gain
        logs = self.climb(samples, gain, generator)
        return {**logs, "reward/baseline": float(self.baseline.value.nanmean())}

    def climb(self, samples: Samples, gain: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Improve the policy, which is alike on all ranks before and then after.

        Args:
            samples: M architectures of this rank, as many as on every other rank.
            gain: (M,) distances of rewards from their baseline.
            generator: On the CPU, of this rank.

        Returns:
            Means over the optimizer steps of the loss's statistics and of ``gradient_norm``.
        """
        steps = []
        for rows in self.settings.passes(len(gain), generator):
            mine = rows.to(gain.device)
            new, entropy = self.policy.evaluate(samples.indices[mine], samples.targets[mine])
            loss, logs = self.settings.loss(new, samples.log_prob[mine], gain[mine])
            steps.append({**logs, "gradient_norm": self._descend(loss, entropy)})
        means = torch.stack([torch.stack([*step.values()]) for step in steps]).mean(dim=0)
        return dict(zip(steps[0], means.tolist(), strict=True))

    def _descend(self, loss: Tensor, entropy: Tensor) -> Tensor:
        """Step along the mean gradient over ranks, shortened; returns its norm before that.

        The entropies (M, D) are rewarded. ``autograd.grad`` fires no hooks of the parameters, so
        DDP does not take part, even where the policy lies within the module that it wraps.
        """
        loss = loss - self.settings.entropy * entropy.sum(dim=1).mean()
        parameters = list(self.policy.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        gradient = mean_over_ranks(torch.cat([one.flatten() for one in gradients]))
        norm = gradient.norm()
        gradient = gradient * (self.settings.max_grad_norm / norm).clamp(max=1)
        pieces = gradient.split([parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        self.optimizer.step()
        return norm

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
