"""Searches on simulated measurements: today's, and one by slices as it was before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.outside_truth.simulation import BUDGET, Setting, SimulatedTunings, Simulator
from benchmarks.outside_truth.tables import ACCEL_SPACE
from benchmarks.outside_truth.truth import Field
from search.controllers.controller import UpdateStep
from search.controllers.settings import ControllerSettings, Kind
from search.module import SearchModule
from search.selection.results import finalists
from search.selection.selection import Candidate, best_hits, final_codes, shortlist
from search.settings import Final, Sampling, Schedule, tuning_lengths, update_steps
from search.step import controller_step, make_generator
from search.surrogate.rounds import Rounds
from search.surrogate.tunings import Code

KINDS: tuple[Kind, ...] = get_args(Kind)
BEFORE = {"total": 1600, "uniform": 1200, "every": 5, "samples": 128, "candidates": 24}
"""The search by slices: configs/clutter of version 0.1, and the 24 finalists of its default."""
SLICE_MIDDLE, SLICE_UNIT = 0.3, 0.01
"""Mean score of slices and its standard deviation between networks, as measured on clutter."""


def make_module(field: Field, kind: Kind, seed: int, final: Final) -> SearchModule:
    """A search that is past its weight steps, of which there were none."""
    torch.manual_seed(seed)
    module = SearchModule(
        *(ACCEL_SPACE.classes, ACCEL_SPACE.resolution, ACCEL_SPACE.stem_stride),
        space=ACCEL_SPACE,
        cost="macs",
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
        rounds = Rounds(module, SimulatedTunings(Simulator(field, setting, seed)))
        rounds.run()
        return best_hits(finalists(module, rounds), field.target, 1)[0].code

    return search


def by_slices(field: Field, setting: Setting, seed: int) -> Code:
    """The search before: PPO rewarded by slices, the best slices of its finalists tuned."""
    simulator = Simulator(field, setting, seed)
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
