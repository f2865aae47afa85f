"""Population: the youngest architectures of an evolution, and the best that it ever had."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search.archive import Archive


class Population(nn.Module):
    """A queue of architectures from which the oldest drop out, and an archive that keeps the best.

    Args:
        size: Of the queue.
        keep: Of the archive.
        decisions: D, the length of an architecture.
    """

    indices: Tensor
    rewards: Tensor

    def __init__(self, size: int, keep: int, decisions: int) -> None:
        super().__init__()
        # Oldest first; minus infinity marks places that nothing has filled yet.
        self.register_buffer("indices", torch.zeros(size, decisions, dtype=torch.long))
        self.register_buffer("rewards", torch.full((size,), -torch.inf))
        self.archive = Archive(keep, decisions)

    @property
    def is_full(self) -> bool:
        """Whether every place is taken."""
        return bool((self.rewards > -torch.inf).all())

    @property
    def alive(self) -> tuple[Tensor, Tensor]:
        """Architectures (P, D) and rewards (P,) of the places that are taken."""
        taken = self.rewards > -torch.inf
        return self.indices[taken], self.rewards[taken]

    def parents(self, num: int, tournament: int, generator: torch.Generator) -> Tensor:
        """(num, D): winners of tournaments whose members are drawn with replacement."""
        shape, size = (num, tournament), len(self.rewards)
        drawn = torch.randint(size, shape, generator=generator, device=generator.device)
        drawn = drawn.to(self.rewards.device)
        winners = self.rewards[drawn].argmax(dim=1, keepdim=True)
        return self.indices[drawn.gather(1, winners).squeeze(1)]

    def add(self, indices: Tensor, rewards: Tensor) -> None:
        """Let (M, D) architectures with (M,) rewards in and the oldest out."""
        size = len(self.rewards)
        self.indices = torch.cat([self.indices, indices])[-size:].clone()
        self.rewards = torch.cat([self.rewards, rewards.to(self.rewards)])[-size:].clone()
