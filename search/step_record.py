"""What a step of a search will do and what it did: immutable, for callbacks to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.controller_step import StepResult
from supernet.space.arch import Path


@dataclass(frozen=True)
class StepPlan:
    """What the schedule and the controller ask of a weight step, on this rank."""

    number: int
    """Weight steps before it."""
    path: Path
    """What is trained: an Arch, or a warm-up path with mixed blocks."""
    by_policy: bool
    """Whether the controller proposed the path; uniform sampling drew it otherwise."""
    is_last_uniform: bool
    """Whether the controller proposes the paths from the next step on."""
    warmup: float
    """Probability with which each decision took its all-enabling value."""
    stream: float
    """Weight of the shortcuts that all ops share, in [0, 1]."""
    lr_factor: float
    """Learning rate over the largest."""


@dataclass(frozen=True)
class StepRecord:
    """What a weight step did on this rank, and what the controller learned after it."""

    plan: StepPlan
    images: int
    """Images of the training batch."""
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
