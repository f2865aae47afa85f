"""Archive: the best-rewarded architectures so far, for controllers that have no policy."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Archive(nn.Module):
    """The ``capacity`` best-rewarded distinct architectures, best first.

    An architecture that is scored again keeps its newest reward: the shared weights have moved on.

    Args:
        capacity: How many are kept.
        decisions: D, the length of an architecture.
    """

    indices: Tensor
    rewards: Tensor

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


def best_reward(archives: Iterable[nn.Module]) -> float:
    """The best reward so far, the mean over archives of several targets."""
    return fmean(float(cast(Archive, archive).rewards[0]) for archive in archives)
