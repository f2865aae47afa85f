"""RandomSearch, what every other controller has to beat, and the archive of the best-rewarded."""

from collections.abc import Callable, Sequence
from functools import partial
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


class Store(nn.Module):
    """Places for ``capacity`` architectures of D ``decisions`` and their rewards."""

    indices: Tensor
    """(capacity, D) int64."""
    rewards: Tensor
    """(capacity,); minus infinity marks places that nothing has filled yet."""
    infinite_buffers = ("rewards",)
    """Names of buffers that may hold an infinity: what looks for faults passes over it."""

    def __init__(self, capacity: int, decisions: int) -> None:
        super().__init__()
        self.register_buffer("indices", torch.zeros(capacity, decisions, dtype=torch.long))
        self.register_buffer("rewards", torch.full((capacity,), -torch.inf))

    @property
    def held(self) -> Tensor:
        """(K, D), K <= capacity: the architectures in the places that are taken."""
        return self.indices[self.rewards > -torch.inf]

    def reconsider(self, rewards: Callable[[Tensor], Tensor]) -> None:
        """Take new rewards (K,) for the K architectures held."""
        if len(self.held):
            self.rewards[self.rewards > -torch.inf] = rewards(self.held).to(self.rewards)


class Archive(Store):
    """The best-rewarded distinct architectures, best first.

    An architecture that is scored again keeps its newest reward: the shared weights have moved on.
    """

    @torch.no_grad()
    def add(self, indices: Tensor, rewards: Tensor) -> None:
        """Take in (M, D) architectures with (M,) rewards, in the order of scoring."""
        kept = zip(map(tuple, self.held.tolist()), self.rewards.tolist(), strict=False)
        known = dict(kept) | dict(zip(map(tuple, indices.tolist()), rewards.tolist(), strict=True))
        ranked = sorted(known.items(), key=lambda item: -item[1])[: len(self.rewards)]
        for row, (code, reward) in enumerate(ranked):
            self.indices[row] = self.indices.new_tensor(code)
            self.rewards[row] = reward

    def reconsider(self, rewards: Callable[[Tensor], Tensor]) -> None:
        """Take new rewards for all held, and put them in the order of these."""
        super().reconsider(rewards)
        order = self.rewards.argsort(descending=True, stable=True)
        self.indices.copy_(self.indices[order])
        self.rewards.copy_(self.rewards[order])


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

    def reconsider(self, rewards: Callable[[int, Tensor], Tensor]) -> None:
        """Reward what is remembered anew."""
        for number, archive in enumerate(self._archives):
            archive.reconsider(partial(rewards, number))

    def finalists(self, num: int, generator: torch.Generator, target: int = 0) -> Tensor:
        """The best-rewarded architectures so far."""
        return self._archives[target].held[: 1 + num]

    def preferences(self, indices: Tensor, target: int = 0) -> Tensor:
        """Shares of the values among the best-rewarded, each value counted once more."""
        best, sizes = self._archives[target].held, self.sizes[:, None]
        counts = functional.one_hot(best, int(sizes.max())).sum(dim=0)
        shares = (counts + 1) / (len(best) + sizes)
        exists = torch.arange(counts.shape[1], device=sizes.device) < sizes
        return shares.log().masked_fill(~exists, -torch.inf).expand(len(indices), -1, -1)


def draw_uniform(sizes: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """(num, D) indices, each uniform below its decision's size in ``sizes`` (D,)."""
    share = torch.rand(
        num, len(sizes), dtype=torch.float64, generator=generator, device=generator.device
    )
    return (share.to(sizes.device) * sizes).long()


class RandomSearch(ArchiveController):
    """Draws every decision uniformly and keeps the best-rewarded architectures.

    What it draws depends on no target, so that each counts for all of them. For the final choice
    it remembers ``keep`` for each target.
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
        self, proposals: Proposals, scores: Scores, generator: torch.Generator, step: UpdateStep
    ) -> dict[str, float]:
        """Remember the best; logs the best reward and the constant entropies."""
        indices = gather_rows(proposals.indices)
        for archive, rewards in zip(self._archives, self._rewards(scores), strict=True):
            archive.add(indices, gather_rows(rewards))
        entropy = entropy_logs(self.sizes[None].double().log())
        return {"archive/best": self._best_reward, **entropy}
