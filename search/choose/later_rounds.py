"""LaterRounds: a finished search is asked for another target, on another device, within limits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from search.choose.finished import FinishedSearch
from search.choose.optima import best_codes
from search.module import SearchModule
from search.step import make_generator
from search.surrogate.proposals import hits, uniform_codes
from search.surrogate.rounds import Label, Rounds
from search.surrogate.tunings import Code, Tunings
from supernet.run.distributed import told_by_rank_zero


class LaterRounds(Rounds):
    """What a later question does instead of a search's rounds.

    The surrogate is fitted to the labels of the search, and to some uniform networks that hit each
    target of the question: counts tell a direction, and these what it is worth at that cost.
    Finalists are the best of what was tuned, and the optima of the surrogate instead of a
    controller's proposals: no controller has learned of this question.

    Args:
        module: Its supernet on its device.
        tunings: Of the folder of the question, which know the search's.
        finished: The search.
        num_labels: Uniform networks that hit each target, those of the search among them.
    """

    def __init__(
        self, module: SearchModule, tunings: Tunings, finished: FinishedSearch, num_labels: int
    ) -> None:
        super().__init__(module, tunings)
        self.finished, self.num_labels = finished, num_labels

    def run(self) -> None:
        """Recall the labels of the search, add some, and tune the finalists."""
        known = self.finished.labels
        codes = [one.code for one in known]
        tuned = self.tunings.of(codes, self.module.lengths.label)
        rows = zip(known, tuned, self._targets_hit(codes), strict=True)
        self.labels = [Label(tuning, one.round, one.origin, hit) for one, tuning, hit in rows]
        self._add_labels()
        self.surrogate.fit([one.tuning for one in self.labels])
        self.after_fit(self)
        self.tune_finalists()

    def _targets_hit(self, codes: Sequence[Code]) -> list[int | None]:
        """Number of the first target that each network hits; None where it hits none."""
        rows = torch.tensor(codes)
        found: list[int | None] = [None] * len(codes)
        for number, target in reversed(list(enumerate(self.objective.targets))):
            hit = hits(self.objective, target, rows).tolist()
            found = [number if one else before for one, before in zip(hit, found, strict=True)]
        return found

    def _add_labels(self) -> None:
        """Tune uniform networks that hit a target, where the search has tuned too few."""
        number = 1 + max(one.round for one in self.labels)
        chosen: list[tuple[Code, int]] = []
        for place, target in enumerate(self.objective.targets):
            uniform = [one for one in self.labels if one.origin == "uniform"]
            missing = self.num_labels - sum(one.target == place for one in uniform)
            taken = {one.code for one in self.labels} | {code for code, _ in chosen}
            generator = make_generator("uniform", self.module.seed, number, place)
            codes = uniform_codes(self.objective, target, max(0, missing), taken, generator)
            chosen += [(code, place) for code in codes]
        chosen = told_by_rank_zero(chosen)
        tuned = self.tunings.of([code for code, _ in chosen], self.module.lengths.label)
        self.labels += [
            Label(tuning, number, "uniform", place)
            for tuning, (_, place) in zip(tuned, chosen, strict=True)
        ]

    def proposals(self, target: int, generator: torch.Generator) -> list[Code]:
        """Optima of the surrogate for a target, by its number."""
        num, seed = self.module.final.num, generator.initial_seed()
        return best_codes(self.surrogate, self.objective, self.objective.targets[target], num, seed)

    def finalist_codes(self, target: int) -> list[Code]:
        """Beside those of a search, its own finalists that hit the target."""
        codes = list(self.finished.finalists)
        hit = hits(self.objective, self.objective.targets[target], torch.tensor(codes))
        known = [code for code, fits in zip(codes, hit.tolist(), strict=True) if fits]
        return list(dict.fromkeys([*known, *super().finalist_codes(target)]))
