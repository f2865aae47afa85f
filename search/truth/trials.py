"""Trials of controllers on a truth: each has as many evaluations, of which noise may be a part."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search.compare.trials import hypervolume
from search.controllers.controller import Controller, UpdateStep
from search.controllers.settings import ControllerSettings, Kind
from search.evaluation.jobs import Row, commit, identified, short_hash
from search.selection.selection import Candidate, front
from search.settings import Final, Sampling
from search.step import controller_step, make_generator
from search.truth.objectives import make_objective
from search.truth.simulation import Simulator
from search.truth.sources import Source
from search.truth.truth import Field, Truth
from supernet.errors import UserError

WIDTH = 0.05
"""Share of its target that a proposal may lie below it and still hit it."""
NEARLY = 0.99
"""Share of the best accuracy whose first meeting is noted."""
TOP, AGAIN = 10, 1000
"""Networks that are judged once more in the end, and what is added to their seed."""
VERSION = 1
"""What a row tells."""


class Noise(NamedTuple):
    """What an evaluation shows: the truth, one training, or a score of a stated quality."""

    name: str
    tau: float = 1.0
    """Kendall's tau with the truth, among networks that hit the target."""
    bias: float = 0.0
    """Share of the noise's variance that is a sum over a network's choices."""

    @staticmethod
    def of(text: str) -> Noise:
        """Noise by its name, or by ``TAU:BIAS``.

        Raises:
            UserError: for anything else.
        """
        if text in NOISES:
            return NOISES[text]
        given = re.fullmatch(r"(0?\.\d+):([01]|0?\.\d+)", text)
        if not given or not float(given[1]):
            raise UserError(
                f"--noise {text} is neither {', '.join(NOISES)} nor TAU:BIAS, such as 0.2:0.5, with"
                " a tau above 0 and below 1 and a bias from 0 to 1"
            )
        return Noise(text, float(given[1]), float(given[2]))


NOISES = {
    one.name: one
    for one in (Noise("exact"), Noise("training"), Noise("tuning", 0.4), Noise("slice", 0.2, 0.5))
}
"""What evaluations show by name: a slice as slices of a supernet rank on clutter, half of their
noise being alike for networks that are alike."""


class Trial(NamedTuple):
    """A controller with a seed on a table."""

    truth: str
    """Name of the table."""
    noise: Noise
    target: str
    kind: Kind
    seed: int


@dataclass(frozen=True)
class Rules:
    """What all trials of a command have in common."""

    evaluations: int
    cost: str

    def __post_init__(self) -> None:
        """Refuse a last update that lacks samples."""
        samples = Sampling().samples
        if self.evaluations < samples or self.evaluations % samples:
            raise UserError(
                f"--evaluations is {self.evaluations}, it must be a multiple of the {samples}"
                " samples of an update"
            )

    def identity(self, trial: Trial, digest: str) -> Row:
        """What identifies a trial on a table with files of a digest."""
        controller = asdict(ControllerSettings()).get(trial.kind)
        config = {
            "truth": trial.truth,
            "digest": digest,
            "cost": self.cost,
            "target": trial.target,
            "noise": trial.noise.name,
            "tau": trial.noise.tau,
            "bias": trial.noise.bias,
            "evaluations": self.evaluations,
            "controller": trial.kind,
            "settings": short_hash([controller, asdict(Final()), asdict(Sampling()), VERSION]),
        }
        return identified(config, trial.seed)


@dataclass
class Seen:
    """What a controller has proposed, in turn."""

    rows: Tensor
    """(N, D)."""
    truths: np.ndarray
    """(N,) in points."""
    rewards: np.ndarray
    costs: np.ndarray


class TrialRunner:
    """Runs trials in this process."""

    def __init__(self, sources: Mapping[str, Source], rules: Rules) -> None:
        """Take note of tables by name, each to be read when a trial needs it."""
        self.rules, self.sources = rules, sources
        self.truth = cache(lambda name: Truth(sources[name].read()))
        self.field = cache(self._field)

    def _field(self, name: str, target: str) -> Field:
        truth: Truth = self.truth(name)
        objective = make_objective(truth.networks, self.rules.cost, target)
        return Field(truth, objective, width=WIDTH)

    def __call__(self, trial: Trial) -> Row:
        """Run a trial; the row that the cache keeps of it."""
        start, field = time.process_time(), self.field(trial.truth, trial.target)
        controller = make_controller(trial.kind, field, trial.seed)
        seen = self._run(controller, trial, field)
        chosen = choice(controller, seen, field, trial)
        digest = self.sources[trial.truth].digest
        return {
            **self.rules.identity(trial, digest),
            "commit": commit(),
            "limit": field.target.cost,
            "best": field.best,
            **_chosen(chosen, field),
            **found(seen, field),
            "cpu_seconds": round(time.process_time() - start, 3),
        }

    def _run(self, controller: Controller, trial: Trial, field: Field) -> Seen:
        samples, shown = Sampling().samples, _shown(field, trial.noise, trial.seed)
        updates = self.rules.evaluations // samples
        results = [
            controller_step(
                controller,
                samples,
                lambda rows: torch.from_numpy(shown(rows) / 100).float(),
                UpdateStep(number, updates),
                draws=make_generator("samples", trial.seed, number, 0),
                shuffles=make_generator("minibatches", trial.seed, number, 0),
            )
            for number in range(updates)
        ]
        rows = torch.cat([one.proposals.indices for one in results])
        rewards = torch.cat([one.scores.reward for one in results]).numpy()
        return Seen(rows, field.truth(rows), rewards, field.objective.costs.of(rows).numpy())


def make_controller(kind: Kind, field: Field, seed: int) -> Controller:
    """A fresh controller of a field's decisions that knows the objective."""
    sizes = field.truth.networks.sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        keep = 1 + Final().samples
        controller = ControllerSettings(kind).build(sizes, Sampling().samples, keep)
    controller.prepare(field.objective)
    return controller


def _shown(field: Field, noise: Noise, seed: int) -> Callable[[Tensor], np.ndarray]:
    """What evaluations show (M,) of rows (M, D), in points."""
    if noise.name == "exact":
        return field.truth
    if noise.name == "training":
        return lambda rows: field.truth.trained(rows, seed)
    simulator = Simulator(field, seed, noise.bias)
    return lambda rows: simulator.seen(rows, noise.tau, purpose=1)


def choice(controller: Controller, seen: Seen, field: Field, trial: Trial) -> Tensor | None:
    """What would be chosen in the end (D,), as ``search.compare`` chooses: None if nothing fits.

    Of networks that keep the target, half are the controller's first finalists and half what it was
    rewarded best for. Each is trained once more, unless evaluations show the truth, and the best by
    that is taken.
    """
    generator = make_generator("final", trial.seed, 0, 0)
    finalists = controller.finalists(Final().samples, generator)
    best = seen.rows[np.argsort(-seen.rewards, kind="stable").copy()]
    first, met = (
        list(dict.fromkeys(map(tuple, rows[field.is_eligible(rows)].tolist())))
        for rows in (finalists, best)
    )
    listed = torch.tensor(list(dict.fromkeys([*first[: TOP // 2], *met, *first]))[:TOP])
    if not len(listed):
        return None
    is_exact = trial.noise.name == "exact"
    judged = field.truth(listed) if is_exact else field.truth.trained(listed, trial.seed + AGAIN)
    return listed[int(judged.argmax())]


def _chosen(code: Tensor | None, field: Field) -> Row:
    """A choice's accuracy and regret; who has none gets the table's least accuracy."""
    if code is None:
        accuracy = float(field.truth.labels.min())
        return {"code": None, "accuracy": accuracy, "regret": field.best - accuracy}
    accuracy = float(field.truth(code[None])[0])
    return {"code": code.tolist(), "accuracy": accuracy, "regret": field.best - accuracy}


def found(seen: Seen, field: Field) -> Row:
    """What was evaluated: its front, how much of it hit the target, and how soon it was good."""
    within = seen.costs <= field.target.cost
    hit = within & (seen.costs >= (1 - WIDTH) * field.target.cost)
    good = np.flatnonzero(hit & (seen.truths >= NEARLY * field.best))
    return {
        "hits": float(hit.mean()),
        "within_target": float(within.mean()),
        "networks": len(set(map(tuple, field.truth.names(seen.rows)))),
        "hypervolume": _share_dominated(seen, field),
        "nearly_after": int(good[0]) + 1 if len(good) else None,
        "course": [round(regret, 4) for regret in _course(seen, within, field)],
    }


def _course(seen: Seen, within: np.ndarray, field: Field) -> Iterator[float]:
    """Regret after each update of what was rewarded best until then and keeps the target."""
    rewards = np.where(within, seen.rewards, -np.inf)
    samples = Sampling().samples
    for number in range(samples, len(rewards) + 1, samples):
        place = int(rewards[:number].argmax())
        worth = seen.truths[place] if within[place] else field.truth.labels.min()
        yield float(field.best - worth)


def _share_dominated(seen: Seen, field: Field) -> float:
    """Hypervolume of the front of what was evaluated, by truth, over that of the table's range."""
    networks = field.truth.networks
    costs = field.objective.costs.of(torch.from_numpy(field.truth.codes)).numpy()
    low, high = float(networks.accuracies.min()), float(networks.accuracies.max())
    columns = (map(tuple, seen.rows.tolist()), seen.costs.tolist(), seen.truths.tolist())
    met = {code: Candidate(code, c, worth, worth) for code, c, worth in zip(*columns, strict=True)}
    points = [(one.cost, one.accuracy) for one in front(list(met.values()))]
    whole = (costs.max() - costs.min()) * (high - low)
    return hypervolume(points, float(costs.max()), low) / float(whole)


def trials_of(
    names: Sequence[str],
    noises: Sequence[Noise],
    targets: Sequence[str],
    kinds: Sequence[Kind],
    seeds: int,
) -> list[Trial]:
    """Trials of a command; the seed is outermost, so that what is finished is balanced."""
    return [
        Trial(name, noise, target, kind, seed)
        for seed in range(seeds)
        for name in names
        for noise in noises
        for target in targets
        for kind in kinds
    ]
