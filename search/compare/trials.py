"""Trials of controllers on frozen supernets: as many evaluations for each, and one row a trial.

A trial is one controller with one seed on one supernet. Its row tells what it proposed, what the
best of that are worth with recalibrated batch norms, and what the controller took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean

from search.compare.benchmark import Benchmark, Budget
from search.controllers.controller import Controller, Scores, UpdateStep
from search.controllers.settings import Kind
from search.evaluation.jobs import CachedJobs, Row, commit
from search.evaluation.workers import Workers
from search.monitoring.compute import running_macs
from search.objective.feasible import cheapest, costliest
from search.selection.selection import Candidate, Code, front, preference
from search.step import StepResult, controller_step, make_generator
from supernet.training.config import TrainingConfig


@dataclass(frozen=True)
class Trial:
    """A controller with a seed on a supernet."""

    supernet: int
    """Place of the supernet among the benchmark's."""
    kind: Kind
    seed: int


@dataclass
class Record:
    """A network and its scores, one of each for each time that it was met."""

    cost: float
    accuracies: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    @property
    def reward(self) -> float:
        """Mean reward over the times."""
        return fmean(self.rewards)


@dataclass
class History:
    """What a controller has met: networks by their canonical code, and what they scored."""

    records: dict[Code, Record] = field(default_factory=dict)

    def add(self, codes: Iterable[Code], scores: Scores) -> None:
        """Take in the networks of a step."""
        columns = (scores.accuracy.tolist(), scores.cost.tolist(), scores.reward.tolist())
        for code, accuracy, cost, reward in zip(codes, *columns, strict=True):
            record = self.records.setdefault(code, Record(cost))
            record.accuracies.append(accuracy)
            record.rewards.append(reward)

    def best(self, favourites: Sequence[Code], num: int) -> list[Code]:
        """At most ``num`` networks: half are the first favourites, the rest scored best on average.

        What falls short of its half is made up by the other.

        Args:
            favourites: the controller's, the best first; they need not have been met.
            num: how many.
        """
        first = list(dict.fromkeys(favourites))
        met = sorted(self.records, key=lambda code: (-self.records[code].reward, code))
        return list(dict.fromkeys([*first[: (num + 1) // 2], *met, *first]))[:num]

    def within(self, target: float) -> History:
        """The part at no more than a cost."""
        return History({code: one for code, one in self.records.items() if one.cost <= target})

    def candidates(self) -> list[Candidate]:
        """The networks with their mean accuracies."""
        means = {code: fmean(one.accuracies) for code, one in self.records.items()}
        return [
            Candidate(code, self.records[code].cost, mean, mean) for code, mean in means.items()
        ]


def hypervolume(points: Iterable[tuple[float, float]], cost: float, accuracy: float) -> float:
    """Area that points of (cost, accuracy) dominate, up to a reference point of both.

    Args:
        points: lower cost and higher accuracy are better; those beyond the reference count nothing.
        cost: of the reference point.
        accuracy: of the reference point.
    """
    inside = sorted(point for point in points if point[0] < cost and point[1] > accuracy)
    heights = accumulate((best for _, best in inside), max)
    widths = (right - left for left, right in pairwise([*(left for left, _ in inside), cost]))
    return sum(
        (width * (height - accuracy) for width, height in zip(widths, heights, strict=True)), 0.0
    )


def rescored_front(
    met: list[Candidate], rescored: Callable[[Code], Candidate]
) -> list[tuple[float, float]]:
    """Points of (cost, accuracy) of the front of what was met, by accuracies of a second judgement.

    Scores on one batch choose the networks and do not count: the best of many is partly luck, and
    the more so the more networks a controller has met.
    """
    return [(one.cost, one.accuracy) for one in front([rescored(one.code) for one in front(met)])]


class TrialRunner:
    """Runs trials in this process."""

    def __init__(
        self, budget: Budget, training: TrainingConfig, checkpoints: Sequence[Path]
    ) -> None:
        """Load the benchmark; arguments as for ``Benchmark``."""
        self.benchmark, self.budget = Benchmark(budget, training, checkpoints), budget

    def __call__(self, trial: Trial) -> Row:
        """Run a trial; the row that the cache keeps of it."""
        start, benchmark = time.process_time(), self.benchmark
        controller = self.budget.controller(trial.kind, benchmark.space.decision_sizes, trial.seed)
        controller.prepare(benchmark.objective)
        results, history = [], History()
        for result in self._steps(trial, controller):
            results.append(result)
            codes = map(benchmark.code, result.proposals.indices.tolist())
            history.add(codes, result.scores)
        seconds = time.process_time() - start
        return {
            **benchmark.identity(trial.supernet, trial.kind),
            "seed": trial.seed,
            "commit": commit(),
            "unit": benchmark.objective.cost_model.unit,
            "target": benchmark.target,
            **_course(results, benchmark.target),
            **self._found(trial, history),
            **self._judged(trial, self._favourites(trial, controller), history),
            "controller_seconds": round(sum(result.seconds for result in results), 3),
            "seconds": round(seconds, 3),
            "image_macs": self._image_macs(history),
        }

    def _steps(self, trial: Trial, controller: Controller) -> Iterator[StepResult]:
        """All of a controller's budget, as a search would spend it."""
        batches = self.benchmark.batches(trial.supernet, trial.seed)
        for number, batch in enumerate(batches):
            yield controller_step(
                controller,
                self.budget.search.sampling.samples,
                partial(self.benchmark.slice_scores, trial.supernet, batch=batch),
                UpdateStep(number, self.budget.updates),
                draws=make_generator("samples", trial.seed, number, 0),
                shuffles=make_generator("minibatches", trial.seed, number, 0),
            )

    def _favourites(self, trial: Trial, controller: Controller) -> list[Code]:
        generator = make_generator("final", trial.seed, self.budget.updates, 0)
        finalists = controller.finalists(self.budget.search.final.samples, generator)
        return list(map(self.benchmark.code, finalists.tolist()))

    def _found(self, trial: Trial, history: History) -> Row:
        """The front of all that was evaluated, re-scored, and what it dominates."""
        rescored = partial(self.benchmark.rescored, trial.supernet)
        points = rescored_front(history.candidates(), rescored)
        cost, accuracy = self.reference
        _, least = cheapest(self.benchmark.objective.costs)
        most = (cost - least) * (1 - accuracy)
        return {
            "networks": len(history.records),
            "front": points,
            "reference": [cost, accuracy],
            "hypervolume": hypervolume(points, cost, accuracy) / most if most else 0.0,
        }

    @property
    def reference(self) -> tuple[float, float]:
        """The reference point of the hypervolume: the costliest network's cost, and chance."""
        space = self.benchmark.space
        return costliest(self.benchmark.objective.costs)[1], 1 / space.classes

    def _judged(self, trial: Trial, favourites: list[Code], history: History) -> Row:
        """The best by what the controller has met, scored again, and the choice among them."""
        benchmark, target, top = self.benchmark, self.benchmark.target, self.budget.top
        frugal = benchmark.space.encode(cheapest(benchmark.objective.costs)[0])
        affordable = [c for c in favourites if benchmark.cost(benchmark.space.decode(c)) <= target]
        listed = history.best(favourites, top)
        # The cheapest makes sure that something may be chosen, as at the end of a search.
        within = [*history.within(target).best(affordable, top), frugal]
        judged = [benchmark.rescored(trial.supernet, code) for code in listed]
        eligible = [benchmark.rescored(trial.supernet, code) for code in within]
        rewards = [self._reward(one) for one in judged]
        chosen = min((one for one in [*judged, *eligible] if one.cost <= target), key=preference)
        return {
            "rescored": [asdict(one) for one in judged],
            "best_reward": max(rewards),
            "choice": {**asdict(chosen), "reward": self._reward(chosen)},
            **benchmark.judging(trial.supernet, [*listed, *within]),
        }

    def _reward(self, candidate: Candidate) -> float:
        return self.benchmark.objective.reward(
            candidate.score, candidate.cost, self.benchmark.target
        )

    def _image_macs(self, history: History) -> int:
        """Images x multiply-accumulates of all evaluations, which are forward passes."""
        space, images = self.benchmark.space, self.benchmark.batch_size
        return sum(
            running_macs(space, [space.decode(code)], images * len(record.rewards))
            for code, record in history.records.items()
        )


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


class Trials(CachedJobs[Trial]):
    """All trials of a command, run now or found in the cache."""

    def __init__(
        self,
        budget: Budget,
        training: TrainingConfig,
        checkpoints: Sequence[Path],
        path: Path,
        processes: int,
        cluster: str = "",
    ) -> None:
        """Load the benchmark and read the cache ``path``; ``processes`` trials at a time.

        ``cluster`` is a Dask scheduler whose workers do them in place of processes.
        """
        self.benchmark = Benchmark(budget, training, checkpoints)
        super().__init__(
            "trials",
            path,
            ("supernet", "data", "contest", "controller", "seed"),
            lambda trial: (
                self.benchmark.identity(trial.supernet, trial.kind) | {"seed": trial.seed}
            ),
            Workers(partial(TrialRunner, budget, training, list(checkpoints)), processes, cluster),
            lambda row: f"{row['controller']}, seed {row['seed']}: {row['best_reward']:.3f}",
        )
