"""LocalSearch: architectures that hit a target, few changes away from those that are preferred."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from search.objective.constraints import Limit, violations
from search.objective.costs import BlockCosts
from search.objective.targets import Target

ROUNDS = 4
"""How often the neighbours of the given architectures are tried, each time one change further."""

LANDING = 3.0
"""Nats by which a change that leads into the band is preferred."""

Preferences = Callable[[Tensor], Tensor]
"""Log-probability (M, D, V) of every value of every decision, from (M, D) indices."""


class LocalSearch:
    """Leads architectures into the band below a target, one decision at a time.

    A step changes one decision so that the cost comes nearer to the band. Among such changes it
    draws in proportion to how likely they are compared with the values that they replace; one that
    leads into the band and saves a further change is preferred.

    Args:
        costs: Prices architectures.
        target: Whose band they shall hit.
        preferences: Of the controller.
        constraints: To be kept.
    """

    def __init__(
        self,
        costs: BlockCosts,
        target: Target,
        preferences: Preferences,
        constraints: Sequence[Limit] = (),
    ) -> None:
        self.costs, self.target, self.preferences = costs, target, preferences
        self.constraints = constraints
        sizes = costs.space.decision_sizes
        self.decisions = torch.tensor([d for d, size in enumerate(sizes) for _ in range(size)])
        self.values = torch.tensor([value for size in sizes for value in range(size)])

    def find(self, starts: Tensor, num: int, generator: torch.Generator) -> Tensor:
        """Distinct architectures within the band, (K, D), those of the fewest changes first.

        Args:
            starts: (M, D) indices on the CPU.
            num: As many are enough; there may be fewer and there may be more.
            generator: On the CPU.
        """
        found: dict[tuple[int, ...], None] = {}
        for rows in self._rounds(starts, num, generator):
            found |= dict.fromkeys(map(tuple, self._walk(rows, generator).tolist()))
            if len(found) >= num:
                break
        return starts.new_tensor(list(found)).view(-1, starts.shape[1])

    def _rounds(self, starts: Tensor, num: int, generator: torch.Generator) -> Iterator[Tensor]:
        yield starts
        rows = starts.repeat(-(-num // len(starts)), 1)
        for _ in range(ROUNDS):
            rows, _ = self._change(rows, rows[:, self.decisions] != self.values, generator)
            yield rows

    def _walk(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The architectures that the rows lead to; those that find no way are left behind."""
        landed, distances = [], self._distance(rows)
        while len(rows):
            landed.append(rows[distances == 0])
            rows, before = rows[distances > 0], distances[distances > 0, None]
            if len(rows):
                after = self._after(rows)
                bonus = (after == 0).double() * LANDING
                rows, moved = self._change(rows, after < before, generator, bonus)
                rows = rows[moved]
            distances = self._distance(rows)
        return torch.cat(landed)

    def _distance(self, rows: Tensor) -> Tensor:
        """Distance (M,) of architectures (M, D) from the band and the constraints, as a cost."""
        costs = self.costs.of(rows)
        outside = (costs - self.target.cost).clamp(min=0) + (self.target.least - costs).clamp(min=0)
        return outside + self.target.cost * violations(self.constraints, rows)

    def _after(self, rows: Tensor) -> Tensor:
        """(M, N): distances after each of the N changes; some of them change nothing."""
        changed = rows[:, None].repeat(1, len(self.values), 1)
        changed[:, torch.arange(len(self.values)), self.decisions] = self.values
        return self._distance(changed.flatten(0, 1)).view(len(rows), -1)

    def _change(
        self, rows: Tensor, allowed: Tensor, generator: torch.Generator, bonus: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Make one of the ``allowed`` (M, N) changes in each row (M, D); and where there is one.

        ``bonus`` (M, N), in nats, is added to the log-probability of a change.
        """
        log_prob = self.preferences(rows)
        before = log_prob.gather(2, rows[..., None]).squeeze(2)
        gain = (log_prob[:, self.decisions, self.values] - before[:, self.decisions]).double()
        noise = torch.empty_like(gain).exponential_(generator=generator).log()
        chosen = (gain + bonus - noise).masked_fill(~allowed, -torch.inf).argmax(dim=1)
        moved = allowed.any(dim=1)
        changed = rows.scatter(1, self.decisions[chosen, None], self.values[chosen, None])
        return torch.where(moved[:, None], changed, rows), moved
