"""RandomSearch: uniform sampling, what every other controller has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from search.archive import Archive
from search.baseline import gather_rows
from search.controller import Controller, Proposals, Scores, Turn, entropy_logs


def draw_uniform(sizes: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """(num, D) indices, each uniform below its decision's size in ``sizes`` (D,)."""
    share = torch.rand(
        num, len(sizes), dtype=torch.float64, generator=generator, device=generator.device
    )
    return (share.to(sizes.device) * sizes).long()


class RandomSearch(Controller):
    """Draws every decision uniformly and keeps the best-rewarded architectures.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        keep: How many architectures are remembered for the final choice.
    """

    sizes: Tensor

    def __init__(self, decision_sizes: Sequence[int], keep: int) -> None:
        super().__init__()
        self.register_buffer("sizes", torch.tensor(decision_sizes), persistent=False)
        self.archive = Archive(keep, len(decision_sizes))

    def propose(self, num: int, generator: torch.Generator) -> Proposals:
        """Draw uniformly."""
        return Proposals(draw_uniform(self.sizes, num, generator))

    def learn(
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, turn: Turn
    ) -> dict[str, float]:
        """Remember the best; logs the best reward and the constant entropies."""
        self.archive.add(gather_rows(proposals.indices), gather_rows(scores.reward))
        entropy = entropy_logs(self.sizes[None].double().log())
        return {"archive/best": float(self.archive.rewards[0]), **entropy}

    def finalists(self, num: int, generator: torch.Generator) -> Tensor:
        """The best-rewarded architectures."""
        return self.archive.best[: 1 + num]
