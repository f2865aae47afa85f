"""A step of a search: what it will do and did, for callbacks to read, and the controller's part."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from search.controllers.controller import Controller, Proposals, Scores, UpdateStep
from search.objective.constraints import violations
from search.objective.objective import Objective
from search.settings import Score
from supernet.network.supernet import SuperNet
from supernet.run.distributed import mean_over_ranks, step_seed
from supernet.space.arch import Arch, Path
from supernet.training.standalone import soft_accuracies

Purpose = Literal["path", "samples", "minibatches", "final", "uniform", "proposals"]
"""What random numbers are for; each has generators of its own."""


def make_generator(purpose: Purpose, *place: int) -> torch.Generator:
    """A generator on the CPU, a function of the purpose and of numbers such as seed, step, rank."""
    number = 1 + get_args(Purpose).index(purpose)
    return torch.Generator().manual_seed(step_seed(*place, number))


@contextlib.contextmanager
def of_those_with_gradients(optimizer: Optimizer) -> Iterator[None]:
    """A context in which an optimizer has only those of its weights that have a gradient.

    It passes over all others anyway, but looks at each of them first, again and again in a step.
    """
    all_weights = [group["params"] for group in optimizer.param_groups]
    for group, weights in zip(optimizer.param_groups, all_weights, strict=True):
        group["params"] = [one for one in weights if one.grad is not None]
    try:
        yield
    finally:
        for group, weights in zip(optimizer.param_groups, all_weights, strict=True):
            group["params"] = weights


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

    Spellings of one network are run once. ``images`` (B, 3, H, W) are on the supernet's device and
    in its memory format.
    """
    # Batch statistics, as in training: recalibrating a slice takes longer than scoring it. How far
    # the two lie apart is what BatchNormProbe logs.
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


@dataclass(frozen=True)
class StepPlan:
    """What the schedule and the controller ask of a weight step, on this rank."""

    number: int
    """Weight steps before it."""
    own: Sequence[Path]
    """What is trained, batch by batch: an Arch, or a warm-up path with mixed blocks."""
    paths: Sequence[Path]
    """What all ranks train, this one's included."""
    by_policy: bool
    """Whether the controller proposed the path; uniform sampling drew it otherwise."""
    is_last_uniform: bool
    """Whether the controller proposes the paths from the next step on."""
    warmup: float
    """Probability with which each decision took its warm-up value."""
    stream: float
    """Weight of the shortcuts that all ops share, in [0, 1]."""
    lr_factor: float
    """Learning rate over the largest."""

    @property
    def path(self) -> Path:
        """What the first batch trains, which is all where no gradients are accumulated."""
        return self.own[0]


@dataclass(frozen=True)
class StepRecord:
    """What a weight step did on this rank, and what the controller learned after it."""

    plan: StepPlan
    images: int
    """Images of this rank's training batches."""
    logs: Mapping[str, float]
    """Metrics of the weights by name (docs/metrics.md); empty where none are due."""
    update: StepResult | None
    """The controller step that followed, if one did."""
    reward_images: int
    """Images of the reward batch on which it scored; 0 without one."""

    @property
    def shown(self) -> dict[str, float]:
        """Numbers for the progress line, of which each stands until it is replaced."""
        shown = {"loss": self.logs["train/loss"]} if self.logs else {}
        if self.update:
            logs = self.update.logs
            shown |= {"accuracy": logs["reward/accuracy"], "reward": logs["reward/mean"]}
        return shown


def controller_step(
    controller: Controller,
    num: int,
    accuracies: Callable[[Tensor], Tensor],
    update_step: UpdateStep,
    draws: torch.Generator,
    shuffles: torch.Generator,
) -> StepResult:
    """Let a controller propose ``num`` architectures, score them, and let it learn.

    The controller knows its objective. ``accuracies`` gives (M,) scores of indices (M, D), both on
    the CPU; ``draws`` are for proposing, ``shuffles`` for learning.
    """
    objective, start = controller.objective, time.process_time()
    proposals = controller.propose(num, draws)
    proposed = time.process_time()
    limits = objective.limits(proposals.targets.cpu())
    scores = score_rows(objective, proposals.indices, accuracies, limits)
    scored = time.process_time()
    logs = controller.learn(proposals, scores, shuffles, update_step)
    seconds = proposed - start + time.process_time() - scored
    limits = limits.to(scores.cost)
    logs = {**_mean_logs(scores, limits), **logs}
    if objective.constraints:
        broken = torch.as_tensor(scores.violation > 0).float().mean()
        logs["constraints/broken"] = float(mean_over_ranks(broken))
    return StepResult(update_step, proposals, scores, limits, logs, seconds)


def score_rows(
    objective: Objective,
    indices: Tensor,
    accuracies: Callable[[Tensor], Tensor],
    limits: Tensor | float,
) -> Scores:
    """Scores of architectures (M, D), on their device, under targets (M,) or one for all.

    ``accuracies`` gives (M,) of them, both on the CPU.
    """
    rows = indices.cpu()
    accuracy, cost = accuracies(rows), objective.costs.of(rows).float()
    missed = violations(objective.constraints, rows).float()
    reward = objective.rewards(accuracy, cost, limits, missed)
    return Scores(*(values.to(indices.device) for values in (accuracy, cost, reward, missed)))


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
