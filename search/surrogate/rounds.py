"""Rounds: networks are tuned, the surrogate learns from them, the controller from the surrogate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from search.callbacks import notify
from search.controllers.controller import UpdateStep
from search.module import SearchModule
from search.step import controller_step, make_generator, score_rows
from search.surrogate.proposals import apart, hits, proposed_codes, shares, uniform_codes
from search.surrogate.regression import Floats
from search.surrogate.surrogate import MIDDLE, UNIT, Surrogate
from search.surrogate.tunings import Code, Tuning, Tunings
from supernet.run.distributed import alone, told_by_rank_zero

Origin = Literal["uniform", "proposed"]


@dataclass(frozen=True)
class Label:
    """A tuned network to learn from."""

    tuning: Tuning
    round: int
    """Number of its round, from 0."""
    origin: Origin
    target: int | None
    """Number of the target that it hits; None where it was tuned for another question."""

    @property
    def code(self) -> Code:
        """Canonical indices of its architecture."""
        return self.tuning.code


@dataclass(frozen=True)
class Finalist:
    """A network to choose from, judged on the validation split."""

    tuning: Tuning
    target: int
    predicted: float
    """By the surrogate: quality in nats."""
    quality: float
    """What it is preferred by, in nats, see ``believed``."""


OWN = 0.15
"""Share of what a network's own tuning shows beyond the prediction that is believed. On 120
networks that were trained alone it earned .07 to .26 of the weight of the prediction
(docs/search-quality.md): a few steps tell of a network hardly more than of all like it."""


def believed(own: Floats, predicted: Floats) -> Floats:
    """Qualities (M,) of networks of which a tuning and a surrogate tell, in nats.

    Where the surrogate tells nothing, all of its predictions are alike and the tunings decide.

    Args:
        own: (M,) losses of tunings of one length, with their sign changed.
        predicted: (M,) qualities by the surrogate.
    """
    beyond = (own - own.mean()) - (predicted - predicted.mean())
    return predicted + OWN * beyond


class Rounds:
    """What a search with score ``tuned`` does after its weight steps.

    All of it is a function of the shared weights, the settings and the seed, and is repeated when a
    search is continued; what has been tuned is found in the run folder. Ranks share the tunings.
    Everything else each rank computes alike, and rank 0 says what is tuned.

    Args:
        module: The search, its supernet on its device, its controller on the CPU.
        tunings: Of the run.
    """

    def __init__(self, module: SearchModule, tunings: Tunings) -> None:
        self.module, self.tunings = module, tunings
        self.objective, self.settings = module.objective, module.surrogate
        self.surrogate = Surrogate(module.space)
        self.labels: list[Label] = []
        self.finalists: list[Finalist] = []
        self.updates = 0
        """Updates of the controller so far."""
        self.after_fit: Callable[[Rounds], None] = lambda _: None
        """Is told of each round, before the controller learns from it."""

    def run(self) -> None:
        """Tune, learn and propose, round after round, and tune the finalists."""
        for number, size in enumerate(self.settings.sizes()):
            self._tune_round(number, size)
            self.surrogate.fit([one.tuning for one in self.labels])
            self.after_fit(self)
            self._learn()
        self.tune_finalists()

    def _tune_round(self, number: int, size: int) -> None:
        """Tune the networks of a round: uniform ones in the first, and while nothing is known."""
        chosen: list[tuple[Code, Origin, int]] = []
        explores = number == 0 or not self.surrogate.ridge.tells
        proposals = 0 if explores else round((1 - self.settings.uniform) * size)
        targets = range(len(self.objective.targets))
        for target, num in shares(proposals, targets):
            generator = make_generator("proposals", self.module.seed, number, target)
            codes = self._apart(self.proposals(target, generator), num, chosen)
            chosen += [(code, "proposed", target) for code in codes]
        for target, num in shares(size - len(chosen), targets):
            generator = make_generator("uniform", self.module.seed, number, target)
            taken = self._taken(chosen)
            codes = uniform_codes(
                self.objective, self.objective.targets[target], num, taken, generator
            )
            chosen += [(code, "uniform", target) for code in codes]
        chosen = told_by_rank_zero(chosen)
        found = self.tunings.of([code for code, *_ in chosen], self.module.lengths.label)
        self.labels += [
            Label(tuning, number, origin, target)
            for tuning, (_, origin, target) in zip(found, chosen, strict=True)
        ]

    def _taken(self, chosen: Sequence[tuple[Code, Origin, int]] = ()) -> set[Code]:
        return {one.code for one in self.labels} | {code for code, *_ in chosen}

    def _apart(
        self, ranked: list[Code], num: int, chosen: Sequence[tuple[Code, Origin, int]]
    ) -> list[Code]:
        taken = self._taken()
        fresh = [code for code in ranked if code not in taken]
        return apart(fresh, num, [code for code, *_ in chosen])

    def proposals(self, target: int, generator: torch.Generator) -> list[Code]:
        """Networks that hit a target, the most promising first, by the number of the target."""
        with alone():
            return proposed_codes(
                self.module.controller,
                self.objective,
                target,
                self.module.final.samples,
                self.surrogate.values,
                generator,
            )

    def _learn(self) -> None:
        """Let the controller learn from the surrogate, which costs nothing."""
        total = self.settings.updates * len(self.settings.sizes())
        module, seed = self.module, self.module.seed
        module.controller.reconsider(self._rewards)
        for _ in range(self.settings.updates):
            with alone():
                update = controller_step(
                    module.controller,
                    module.sampling.samples,
                    self.surrogate.accuracies,
                    UpdateStep(self.updates, total),
                    draws=make_generator("samples", seed, self.updates),
                    shuffles=make_generator("minibatches", seed, self.updates),
                )
            value = (update.logs["reward/accuracy"] - MIDDLE) / UNIT
            update = replace(update, logs={**update.logs, "surrogate/value": value})
            if module.trainer.is_global_zero:
                notify(module, update, module.steps_done + self.updates)
            self.updates += 1

    def _rewards(self, target: int, indices: torch.Tensor) -> torch.Tensor:
        """Rewards (M,) of architectures (M, D) by what the surrogate knows now."""
        limit = self.objective.targets[target].cost
        return score_rows(self.objective, indices, self.surrogate.accuracies, limit).reward

    def tune_finalists(self) -> None:
        """Tune the best of what was learned from and the last proposals, and judge them.

        Bands of targets may overlap: what was proposed for one target is a finalist of all that it
        hits, as each of them may choose it.
        """
        chosen: dict[Code, int] = {}
        for target in range(len(self.objective.targets)):
            for code in self.finalist_codes(target):
                chosen.setdefault(code, target)
        chosen = dict(told_by_rank_zero([*chosen.items()]))
        found = self.tunings.of([*chosen], self.module.lengths.final, True)
        self._learn_from_finalists(found, [*chosen.values()])
        quality, predicted = self._qualities(found)
        rows = torch.tensor([*chosen])
        self.finalists = [
            Finalist(tuning, number, *map(float, values))
            for number, target in enumerate(self.objective.targets)
            for tuning, hit, *values in zip(
                found, hits(self.objective, target, rows), predicted, quality, strict=True
            )
            if hit
        ]

    def _learn_from_finalists(self, found: Sequence[Tuning], targets: Sequence[int]) -> None:
        """Let the surrogate learn from the last proposals too, if they were tuned as long."""
        number = len(self.settings.sizes())
        if self.module.lengths.final == self.module.lengths.label:
            taken = self._taken()
            self.labels += [
                Label(tuning, number, "proposed", target)
                for tuning, target in zip(found, targets, strict=True)
                if tuning.code not in taken
            ]
            self.surrogate.fit([one.tuning for one in self.labels])

    def finalist_codes(self, target: int) -> list[Code]:
        """Networks to choose from for a target, by its number: measured ones and proposals."""
        num = self.module.final.num
        measured = apart(self._best_labels(target), -(-num // MEASURED), least=1)
        generator = make_generator("final", self.module.seed, target)
        fresh = [code for code in self.proposals(target, generator) if code not in measured]
        return measured + apart(fresh, num - len(measured), measured)

    def _best_labels(self, target: int) -> list[Code]:
        """Networks that were tuned and hit a target, the most believed in first."""
        codes = [one.code for one in self.labels]
        hit = hits(self.objective, self.objective.targets[target], torch.tensor(codes))
        qualities, _ = self._qualities([one.tuning for one in self.labels])
        found = zip(codes, qualities.tolist(), hit.tolist(), strict=True)
        quality = {code: value for code, value, fits in found if fits}
        return sorted(quality, key=lambda code: (-quality[code], code))

    def _qualities(self, tunings: Sequence[Tuning]) -> tuple[Floats, Floats]:
        """What is believed of networks, and what the surrogate predicts of them, in nats."""
        predicted = self.surrogate.values(torch.tensor([one.code for one in tunings])).numpy()
        return believed(np.array([-one.loss for one in tunings]), predicted), predicted


MEASURED = 4
"""One finalist in so many is a network that was learned from, so that a search may end with the
best that it has measured."""
