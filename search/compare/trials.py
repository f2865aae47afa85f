"""Controllers on frozen supernets: as many evaluations for each of them, and one row a contest.

A contest is one controller with one seed on one supernet. Its row tells what it proposed, what the
best of that are worth with recalibrated batch norms, and what the controller took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from search.compare.benchmark import Arena, Rules
from search.compare.history import Knowledge, hypervolume
from search.controllers.controller import Controller, UpdateStep
from search.controllers.settings import Kind
from search.evaluation.jobs import Cache, CachedJobs, Row, commit
from search.monitoring.compute import running_macs
from search.objective.feasible import fastest, slowest
from search.selection.selection import Candidate, Code, front
from search.step import StepResult, controller_step, make_generator
from supernet.training.config import TrainingConfig

KEYS = ("supernet", "data", "contest", "controller", "seed")
"""What identifies a contest in the cache."""


@dataclass(frozen=True)
class Entry:
    """A contest to hold."""

    supernet: int
    """Its place among the arena's."""
    kind: Kind
    seed: int


class Contests:
    """Holds contests in this process."""

    def __init__(self, rules: Rules, training: TrainingConfig, checkpoints: Sequence[Path]) -> None:
        """Load the arena; arguments as for ``Arena``."""
        self.arena, self.rules = Arena(rules, training, checkpoints), rules

    def __call__(self, entry: Entry, advance: Callable[[], object] = lambda: None) -> Row:
        """Hold a contest; the row that the cache keeps of it."""
        start = time.process_time()
        controller = self.rules.controller(entry.kind, self.arena.space.decision_sizes, entry.seed)
        controller.prepare(self.arena.objective)
        results, knowledge = [], Knowledge()
        for result in self._steps(entry, controller):
            results.append(result)
            codes = map(self.arena.code, result.proposals.indices.tolist())
            knowledge.add(codes, result.scores)
            advance()
        seconds = time.process_time() - start
        return {
            **self.arena.identity(entry.supernet, entry.kind),
            "seed": entry.seed,
            "commit": commit(),
            "unit": self.arena.objective.cost_model.unit,
            "target": self.arena.target,
            **_course(results, self.arena.target),
            **self._found(knowledge),
            **self._judged(entry, self._favourites(entry, controller), knowledge),
            "controller_seconds": round(sum(result.seconds for result in results), 3),
            "seconds": round(seconds, 3),
            "image_macs": self._image_macs(knowledge),
        }

    def _steps(self, entry: Entry, controller: Controller) -> Iterator[StepResult]:
        """All of a controller's budget, as a search would spend it."""
        batches = self.arena.batches(entry.supernet, entry.seed)
        for number, batch in enumerate(batches):
            yield controller_step(
                controller,
                self.rules.search.sampling.samples,
                partial(self.arena.slice_scores, entry.supernet, batch=batch),
                UpdateStep(number, self.rules.updates),
                draws=make_generator("samples", entry.seed, number, 0),
                shuffles=make_generator("minibatches", entry.seed, number, 0),
            )

    def _favourites(self, entry: Entry, controller: Controller) -> list[Code]:
        generator = make_generator("final", entry.seed, self.rules.updates, 0)
        finalists = controller.finalists(self.rules.search.final.samples, generator)
        return list(map(self.arena.code, finalists.tolist()))

    def _found(self, knowledge: Knowledge) -> Row:
        """The front of all that was evaluated, and what it dominates."""
        points = [(one.cost, one.accuracy) for one in front(knowledge.candidates())]
        cost, accuracy = self.reference
        _, cheapest = fastest(self.arena.space, self.arena.objective.cost_model)
        most = (cost - cheapest) * (1 - accuracy)
        return {
            "networks": len(knowledge.records),
            "front": points,
            "reference": [cost, accuracy],
            "hypervolume": hypervolume(points, cost, accuracy) / most if most else 0.0,
        }

    @property
    def reference(self) -> tuple[float, float]:
        """The reference point of the hypervolume: the dearest network's cost, and chance."""
        space = self.arena.space
        return slowest(space, self.arena.objective.cost_model)[1], 1 / space.classes

    def _judged(self, entry: Entry, favourites: list[Code], knowledge: Knowledge) -> Row:
        """The best by the controller's own knowledge, scored again, and the choice among them."""
        arena, target, top = self.arena, self.arena.target, self.rules.top
        cheapest = arena.space.encode(fastest(arena.space, arena.objective.cost_model)[0])
        affordable = [c for c in favourites if arena.cost(arena.space.decode(c)) <= target]
        listed = knowledge.best(favourites, top)
        # The cheapest makes sure that something may be chosen, as at the end of a search.
        within = [*knowledge.within(target).best(affordable, top), cheapest]
        judged = [arena.rescored(entry.supernet, code) for code in listed]
        eligible = [arena.rescored(entry.supernet, code) for code in within]
        rewards = [self._reward(one) for one in judged]
        chosen = _best_within(target, [*judged, *eligible])
        return {
            "rescored": [asdict(one) for one in judged],
            "best_reward": max(rewards),
            "choice": {**asdict(chosen), "reward": self._reward(chosen)},
        }

    def _reward(self, candidate: Candidate) -> float:
        return self.arena.objective.reward(candidate.worth, candidate.cost, self.arena.target)

    def _image_macs(self, knowledge: Knowledge) -> int:
        """Images times multiply-accumulates of all evaluations, which are forward passes."""
        space, images = self.arena.space, self.arena.batch_size
        return sum(
            running_macs(space, [space.decode(code)], images * len(record.rewards))
            for code, record in knowledge.records.items()
        )


def _best_within(target: float, candidates: Sequence[Candidate]) -> Candidate:
    """The best candidate within a target; of equals the cheaper one."""
    within = (one for one in candidates if one.cost <= target)
    return min(within, key=lambda one: (-one.worth, one.cost, one.code))


def _course(results: Sequence[StepResult], target: float) -> Row:
    """What was proposed, step by step."""
    rewards = [result.scores.reward.tolist() for result in results]
    costs = [cost for result in results for cost in result.scores.cost.tolist()]
    return {
        "evaluations": len(costs),
        "mean_rewards": [round(fmean(some), 5) for some in rewards],
        "best_so_far": [round(best, 5) for best in accumulate(map(max, rewards), max)],
        "within_target": fmean(cost <= target for cost in costs),
    }


class Cup(CachedJobs[Entry]):
    """All contests of a command, held now or found in the cache."""

    def __init__(
        self,
        rules: Rules,
        training: TrainingConfig,
        checkpoints: Sequence[Path],
        path: Path,
        processes: int,
    ) -> None:
        """Load the arena and read the cache.

        Args:
            rules: of all contests.
            training: whose data to score on.
            checkpoints: of searches, at least one.
            path: the cache, made when the first contest ends.
            processes: contests at a time.
        """
        self.arena = Arena(rules, training, checkpoints)
        super().__init__(
            "contests",
            Cache(path, KEYS),
            lambda entry: self.arena.identity(entry.supernet, entry.kind) | {"seed": entry.seed},
            partial(Contests, rules, training, list(checkpoints)),
            processes,
            lambda row: f"{row['controller']}, seed {row['seed']}: {row['best_reward']:.3f}",
        )
