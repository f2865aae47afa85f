"""A controller step: propose, score by the shared weights, learn; and its random numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from search.controllers.controller import Controller, Proposals, Scores, UpdateStep
from search.objective.constraints import excess
from search.settings import Score
from supernet.network.supernet import SuperNet
from supernet.run.distributed import mean_over_ranks, step_seed
from supernet.space.arch import Arch
from supernet.training.standalone import soft_accuracies

Purpose = Literal["path", "samples", "minibatches", "final"]
"""What random numbers are for; each has generators of its own."""


def make_generator(purpose: Purpose, *place: int) -> torch.Generator:
    """A generator on the CPU, a function of the purpose and of numbers such as seed, step, rank."""
    number = 1 + get_args(Purpose).index(purpose)
    return torch.Generator().manual_seed(step_seed(*place, number))


def mean_score(logits: Tensor, labels: Tensor, score: Score) -> Tensor:
    """What a network's logits (B, classes) are worth for labels (B,), in [0, 1]."""
    if score == "accuracy":
        return (logits.argmax(1) == labels).float().mean()
    return soft_accuracies(logits.float(), labels).mean()


@torch.no_grad()
def slice_scores(
    supernet: SuperNet, archs: list[Arch], images: Tensor, labels: Tensor, score: Score
) -> Tensor:
    """Score of each architecture's slice, on batch statistics, (M,) on the CPU.

    Spellings of one network are run once.

    Args:
        supernet: the shared weights.
        archs: M architectures.
        images: (B, 3, H, W) on the supernet's device and in its memory format.
        labels: (B,).
        score: what is averaged over the images.
    """
    canonical = [supernet.space.canonical(arch) for arch in archs]
    scores = {
        arch: mean_score(supernet(images, arch), labels, score) for arch in dict.fromkeys(canonical)
    }
    return torch.stack([scores[arch] for arch in canonical]).cpu()


@dataclass(frozen=True)
class StepResult:
    """What a controller step proposed, scored and logged, on this rank."""

    update_step: UpdateStep
    proposals: Proposals
    scores: Scores
    limits: Tensor
    """(M,): the target of each proposal, in the cost's unit."""
    logs: dict[str, float]
    """What to log, alike on all ranks."""
    seconds: float
    """CPU time of proposing and learning."""


def controller_step(
    controller: Controller,
    num: int,
    accuracies: Callable[[list[Arch]], Tensor],
    update_step: UpdateStep,
    draws: torch.Generator,
    shuffles: torch.Generator,
) -> StepResult:
    """Let a controller propose, score its proposals, and let it learn.

    Args:
        controller: prepared with its objective.
        num: architectures to propose on this rank.
        accuracies: scores architectures, (M,) on the CPU.
        update_step: which of its updates this is.
        draws: for proposing.
        shuffles: for learning.
    """
    objective, start = controller.objective, time.process_time()
    proposals = controller.propose(num, draws)
    proposed = time.process_time()
    archs = [objective.space.decode(row) for row in proposals.indices.tolist()]
    accuracy = accuracies(archs)
    specs = [objective.space.spec(arch) for arch in archs]
    cost = torch.tensor([objective.cost_model.predict(spec) for spec in specs])
    missed = torch.tensor([excess(objective.constraints, spec) for spec in specs])
    limits = objective.limits(proposals.targets.cpu())
    reward = objective.rewards(accuracy, cost, limits, missed)
    device = proposals.indices.device
    scores = Scores(*(values.to(device) for values in (accuracy, cost, reward, missed)))
    scored = time.process_time()
    logs = controller.learn(proposals, scores, shuffles, update_step)
    seconds = proposed - start + time.process_time() - scored
    limits = limits.to(scores.cost)
    logs = {**_mean_logs(scores, limits), **logs}
    if objective.constraints:
        broken = (torch.as_tensor(scores.excess) > 0).float().mean()
        logs["constraints/broken"] = float(mean_over_ranks(broken))
    return StepResult(update_step, proposals, scores, limits, logs, seconds)


def _mean_logs(scores: Scores, limits: Tensor) -> dict[str, float]:
    """Means over all ranks' proposals; ``limits`` (M,) are the targets of this rank's."""
    over_target = (scores.cost > limits).to(scores.cost)
    columns = [scores.reward, scores.accuracy, scores.cost, over_target]
    means = mean_over_ranks(torch.stack([column.mean() for column in columns]))
    reward, accuracy, cost, over = means.tolist()
    return {
        "reward/mean": reward,
        "reward/accuracy": accuracy,
        "reward/cost": reward - accuracy,
        "cost/mean": cost,
        "cost/over_target": over,
    }
