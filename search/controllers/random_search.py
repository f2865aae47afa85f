"""RandomSearch, what every other controller has to beat, and the archive of the best-rewarded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.controllers.controller import (
    Controller,
    Proposals,
    Scores,
    UpdateStep,
    draw_targets,
    entropy_logs,
)
from supernet.run.distributed import gather_rows


class Archive(nn.Module):
    """The ``capacity`` best-rewarded distinct architectures, best first.

    An architecture that is scored again keeps its newest reward: the shared weights have moved on.

    Args:
        capacity: How many are kept.
        decisions: D, the length of an architecture.
    """

    indices: Tensor
    """(capacity, D) int64."""
    rewards: Tensor
    """(capacity,), largest first; minus infinity where none is kept yet."""

    def __init__(self, capacity: int, decisions: int) -> None:
        super().__init__()
        self.register_buffer("indices", torch.zeros(capacity, decisions, dtype=torch.long))
        self.register_buffer("rewards", torch.full((capacity,), -torch.inf))

    @torch.no_grad()
    def add(self, indices: Tensor, rewards: Tensor) -> None:
        """Take in (M, D) architectures with (M,) rewards, in the order of scoring."""
        kept = zip(map(tuple, self.best.tolist()), self.rewards.tolist(), strict=False)
        known = dict(kept) | dict(zip(map(tuple, indices.tolist()), rewards.tolist(), strict=True))
        ranked = sorted(known.items(), key=lambda item: -item[1])[: len(self.rewards)]
        for row, (code, reward) in enumerate(ranked):
            self.indices[row] = self.indices.new_tensor(code)
            self.rewards[row] = reward

    def preferences(self, sizes: Tensor) -> Tensor:
        """(D, V) log-probabilities: shares of the values in the archive, each counted once more.

        Args:
            sizes: (D,) numbers of values.
        """
        exists = torch.arange(int(sizes.max()), device=sizes.device) < sizes[:, None]
        counts = functional.one_hot(self.best, exists.shape[1]).sum(dim=0)
        shares = (counts + 1) / (len(self.best) + sizes[:, None])
        return shares.log().masked_fill(~exists, -torch.inf)

    @property
    def best(self) -> Tensor:
        """(K, D), K <= capacity: those that hold an architecture."""
        return self.indices[self.rewards > -torch.inf]


class ArchiveController(Controller):
    """Controller without a policy, whose choices are those that an archive has kept.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        archives: One for each target; a subclass registers them as modules.
    """

    sizes: Tensor
    """(D,) numbers of values."""

    def __init__(self, decision_sizes: Sequence[int], archives: Sequence[Archive]) -> None:
        super().__init__(len(archives))
        self.register_buffer("sizes", torch.tensor(decision_sizes), persistent=False)
        self._archives = list(archives)

    @property
    def _best_reward(self) -> float:
        """The best reward so far, the mean over targets."""
        return fmean(float(archive.rewards[0]) for archive in self._archives)

    def finalists(self, num: int, generator: torch.Generator, target: int = 0) -> Tensor:
        """The best-rewarded architectures so far."""
        return self._archives[target].best[: 1 + num]

    def preferences(self, indices: Tensor, target: int = 0) -> Tensor:
        """How often the best-rewarded architectures have each value, whatever ``indices`` are."""
        table = self._archives[target].preferences(self.sizes)
        return table.expand(len(indices), -1, -1)


def draw_uniform(sizes: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """(num, D) indices, each uniform below its decision's size in ``sizes`` (D,)."""
    share = torch.rand(
        num, len(sizes), dtype=torch.float64, generator=generator, device=generator.device
    )
    return (share.to(sizes.device) * sizes).long()


class RandomSearch(ArchiveController):
    """Draws every decision uniformly and keeps the best-rewarded architectures.

    What it draws depends on no target, so that each counts for all of them.

    Args:
        decision_sizes: Number of values of each of the D decisions.
        keep: How many architectures are remembered for the final choice.
        targets: How many, each with an archive of its own.
    """

    def __init__(self, decision_sizes: Sequence[int], keep: int, targets: int = 1) -> None:
        archives = [Archive(keep, len(decision_sizes)) for _ in range(targets)]
        super().__init__(decision_sizes, archives)
        self.archives = nn.ModuleList(archives)

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
        for archive, rewards in zip(self._archives, self._rewards(scores), strict=True):
            archive.add(indices, gather_rows(rewards))
        entropy = entropy_logs(self.sizes[None].double().log())
        return {"archive/best": self._best_reward, **entropy}
