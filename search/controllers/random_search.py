"""RandomSearch: uniform sampling, what every other controller has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from search.controllers.archive import Archive, best_reward
from search.controllers.controller import (
    Controller,
    Proposals,
    Scores,
    UpdateStep,
    draw_targets,
    entropy_logs,
)
from supernet.run.distributed import gather_rows


def draw_uniform(sizes: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """(num, D) indices, each uniform below its decision's size in ``sizes`` (D,)."""
    share = torch.rand(
        num, len(sizes), dtype=torch.float64, generator=generator, device=generator.device
    )
    return (share.to(sizes.device) * sizes).long()


class RandomSearch(Controller):
    """Draws every decision uniformly and keeps the best-rewarded architectures.

    What it draws depends on no target, so that each counts for all of them.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        keep: How many architectures are remembered for the final choice.
        targets: How many, each with an archive of its own.
    """

    sizes: Tensor

    def __init__(self, decision_sizes: Sequence[int], keep: int, targets: int = 1) -> None:
        super().__init__(targets)
        self.register_buffer("sizes", torch.tensor(decision_sizes), persistent=False)
        self.archives = nn.ModuleList(Archive(keep, len(decision_sizes)) for _ in range(targets))

    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Draw uniformly."""
        targets = draw_targets(num, self.num_targets, generator).to(self.sizes.device)
        return Proposals(draw_uniform(self.sizes, num, generator), targets)

    def learn(
        self,
        proposals: Proposals,
        scores: Scores,
        generator: torch.Generator,
        update_step: UpdateStep,
    ) -> dict[str, float]:
        """Remember the best; logs the best reward and the constant entropies."""
        indices = gather_rows(proposals.indices)
        for archive, rewards in zip(self.archives, self._rewards(scores), strict=True):
            cast(Archive, archive).add(indices, gather_rows(rewards))
        entropy = entropy_logs(self.sizes[None].double().log())
        return {"archive/best": best_reward(self.archives), **entropy}

    def finalists(self, num: int, generator: torch.Generator, target: int = 0) -> Tensor:
        """The best-rewarded architectures."""
        return cast(Archive, self.archives[target]).best[: 1 + num]

    def preferences(self, indices: Tensor, target: int = 0) -> Tensor:
        """How often the best-rewarded architectures have each value, whatever ``indices`` are."""
        table = cast(Archive, self.archives[target]).preferences(self.sizes)
        return table.expand(len(indices), -1, -1)
