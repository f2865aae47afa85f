"""Searches on simulated measurements: today's, and one by slices as it was before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from search.controllers.controller import UpdateStep
from search.controllers.settings import ControllerSettings, Kind
from search.evaluation.jobs import Row, commit, identified
from search.module import SearchModule
from search.selection.results import finalists
from search.selection.selection import Candidate, best_hits, final_codes, shortlist
from search.settings import Final, Sampling, Schedule, tuning_lengths, update_steps
from search.step import controller_step, make_generator
from search.surrogate.rounds import Rounds
from search.surrogate.tunings import Code
from search.truth.objectives import make_objective
from search.truth.simulation import BUDGET, SETTINGS, Setting, SimulatedTunings, Simulator
from search.truth.sources import Source
from search.truth.truth import Field, Truth

KINDS: tuple[Kind, ...] = get_args(Kind)
TEN = 10
"""Random networks, of which the best is what ten trainings would find."""
BEFORE = {"total": 1600, "uniform": 1200, "every": 5, "samples": 128, "candidates": 24}
"""The search by slices: configs/clutter of version 0.1, and the 24 finalists of its default."""
SLICE_MIDDLE, SLICE_UNIT = 0.3, 0.01
"""Mean score of slices and its standard deviation between networks, as measured on clutter."""


def make_module(field: Field, kind: Kind, seed: int, final: Final) -> SearchModule:
    """A search that is past its weight steps, of which there were none."""
    torch.manual_seed(seed)
    space = field.objective.space
    module = SearchModule(
        *(space.classes, space.resolution, space.stem_stride),
        space=space,
        cost=cast(Any, field.objective.cost_model.unit),
        schedule=Schedule(share=0),
        controller=ControllerSettings(kind),
        final=final,
    )
    module.seed, module.objective = seed, field.objective
    module.lengths = tuning_lengths(BUDGET, "tuned", module.surrogate, module.final, 1)
    module.controller.prepare(field.objective)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    module.trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, barebones=True)
    return module


def by_tunings(kind: Kind) -> Callable[[Field, Setting, int], Code]:
    """Today's search: a surrogate learns from rounds of tunings, a controller from it."""

    def search(field: Field, setting: Setting, seed: int) -> Code:
        module = make_module(field, kind, seed, Final())
        rounds = Rounds(module, SimulatedTunings(field, setting, seed))
        rounds.run()
        return best_hits(finalists(module, rounds), field.target, 1)[0].code

    return search


def by_slices(field: Field, setting: Setting, seed: int) -> Code:
    """The search before: PPO rewarded by slices, the best slices of its finalists tuned."""
    simulator = Simulator(field, seed, setting.bias)
    final = Final(samples=BEFORE["samples"], candidates=BEFORE["candidates"])
    module = make_module(field, "ppo", seed, final)
    mean, deviation = _location(simulator.seen(field.rows[:500], setting.slices, purpose=1))

    def scores(rows: Tensor) -> Tensor:
        z = (simulator.seen(rows, setting.slices, purpose=1) - mean) / deviation
        return torch.from_numpy(SLICE_MIDDLE + SLICE_UNIT * z).float()

    steps = update_steps(BEFORE["uniform"], BEFORE["total"], BEFORE["every"])
    for number, step in enumerate(steps):
        controller_step(
            module.controller,
            Sampling().samples,
            scores,
            UpdateStep(number, len(steps)),
            draws=make_generator("samples", seed, step),
            shuffles=make_generator("minibatches", seed, step),
        )
    codes = final_codes(module, final.samples)
    drafted = _candidates(field, codes, scores(torch.tensor(codes)).tolist())
    listed = [one.code for one in shortlist(drafted, [field.target], final.num)]
    judged = simulator.seen(torch.tensor(listed), setting.judged, purpose=2)
    return best_hits(_candidates(field, listed, judged.tolist()), field.target, 1)[0].code


def _candidates(field: Field, codes: Sequence[Code], scores: Sequence[float]) -> list[Candidate]:
    costs = field.objective.costs.of(torch.tensor(codes)).tolist()
    rows = zip(codes, costs, scores, strict=True)
    return [Candidate(code, cost, score, score) for code, cost, score in rows]


def _location(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


METHODS: dict[str, Callable[[Field, Setting, int], Code]] = {
    "slices": by_slices,
    **{kind: by_tunings(kind) for kind in KINDS},
}
"""Searches by name: the one before, and today's with each controller."""


class Search(NamedTuple):
    """A whole search on a table."""

    truth: str
    """Name of the table."""
    method: str
    setting: str
    target: str
    seed: int


def search_identity(sources: Mapping[str, Source], cost: str, search: Search) -> Row:
    """What identifies a search; the first rows, of one table and its MACs, name neither."""
    config: Row = {"method": search.method, "target": search.target}
    config |= {**vars(SETTINGS[search.setting]), "setting": search.setting}
    del config["name"]
    if search.truth != "accel-nasbench":
        config |= {"truth": search.truth, "digest": sources[search.truth].digest}
    if cost != "macs":
        config["cost"] = cost
    return identified(config, search.seed)


class SearchRunner:
    """Runs searches in this process."""

    def __init__(self, sources: Mapping[str, Source], cost: str) -> None:
        """Take note of tables by name, each to be read when a search needs it."""
        self.sources, self.cost = sources, cost
        self.truth = cache(lambda name: Truth(sources[name].read()))
        self.field = cache(self._field)

    def _field(self, name: str, target: str) -> Field:
        truth: Truth = self.truth(name)
        return Field(truth, make_objective(truth.networks, self.cost, target))

    def __call__(self, search: Search) -> Row:
        """Run a search; the row that the cache keeps of it."""
        field, start = self.field(search.truth, search.target), time.process_time()
        code = METHODS[search.method](field, SETTINGS[search.setting], search.seed)
        seconds = time.process_time() - start
        identity = search_identity(self.sources, self.cost, search)
        return {
            **identity,
            "commit": commit(),
            **judged(field, code, search.seed),
            "cpu_seconds": seconds,
        }


def judged(field: Field, code: Code, seed: int) -> Row:
    """What a choice is worth, beside random networks that hit the target."""
    ten = np.random.default_rng(seed).choice(field.worths, TEN, replace=False)
    accuracy = float(field.truth(torch.tensor([code]))[0])
    return {
        "code": list(code),
        "accuracy": accuracy,
        "regret": field.best - accuracy,
        "regret_of_mean": field.best - float(field.worths.mean()),
        "regret_of_best_of_ten": field.best - float(ten.max()),
    }
