"""Simulated measurements of networks: their truth and noise, so that they rank at a stated tau."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn import functional

from search.surrogate.tunings import Code, Tuning, Tunings
from search.truth.truth import Field

NATS, LEVEL = 0.05, 4.0
"""Nats of loss for a point of accuracy, about as on ImageNet, and the loss at no accuracy."""
SHORT, BUDGET = 10, 960
"""Steps of a short tuning, and of all tunings of a search, which its rules deal out."""


@dataclass(frozen=True)
class Setting:
    """How well measurements of networks of a target's cost rank them, by Kendall's tau."""

    name: str
    label: float
    """Tunings of a 96th part of the steps that a search spends on them, ``SHORT``."""
    final: float
    """Tunings four times as long; others lie on the line through both, over log steps."""
    bias: float
    """Share of the noise's variance that is a sum over a network's choices: what a search is fooled
    by, for it is no luck that averages out."""
    slices: float = 0.12
    """Slices of the supernet, by which controllers were rewarded before tunings were."""
    judged: float = 0.45
    """Candidates of such a search, each tuned for 40 steps."""

    def tau_after(self, steps: int) -> float:
        """Tau of tunings of so many steps."""
        return self.label + (self.final - self.label) * math.log(steps / SHORT, 4)


SETTINGS = {
    one.name: one
    for one in (
        Setting("clear", label=0.4, final=0.6, bias=0.0),
        Setting("biased", label=0.4, final=0.6, bias=0.5),
        Setting("hard", label=0.25, final=0.45, bias=0.5),
    )
}
CALIBRATED, HALVINGS, LARGEST = 2000, 20, 30.0
"""Networks by which a noise is set, steps of that, and the most noise, in deviations of truth."""


@functools.cache
def noise_for(field: Field, tau: float) -> float:
    """Standard deviation in points of a normal noise that leaves such a tau in a field."""
    truth = field.worths[:CALIBRATED]
    luck = np.random.default_rng(0).normal(size=len(truth))
    low, high = 0.0, LARGEST * float(truth.std())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_clear = kendalltau(truth, truth + middle * luck).statistic > tau
        low, high = (middle, high) if too_clear else (low, middle)
    return low


@dataclass(frozen=True)
class Simulator:
    """What is seen of a field's networks in one search.

    Noise is a function of seed, purpose and network: who looks twice sees the same. Its biased part
    weighs each choice of each decision by a normal draw; it is the same for all purposes, as the
    same shared weights are behind them.
    """

    field: Field
    seed: int
    bias: float
    """Share of the noise's variance that is a sum over choices."""

    @cached_property
    def _weights(self) -> Tensor:
        rng = np.random.default_rng([self.seed, 1])
        sizes = self.field.sizes
        return torch.from_numpy(rng.normal(size=(len(sizes), int(sizes.max()))))

    @cached_property
    def _scale(self) -> tuple[float, float]:
        values = self._sums(self.field.rows)
        return float(values.mean()), float(values.std())

    def _sums(self, rows: Tensor) -> np.ndarray:
        hot = functional.one_hot(rows, self._weights.shape[1]).double()
        return torch.einsum("mdv,dv->m", hot, self._weights).numpy()

    def seen(self, rows: Tensor, tau: float, purpose: int) -> np.ndarray:
        """Truth plus noise (M,) of rows (M, D), in points; ``purpose`` is a number of its own."""
        noise = np.array(
            [
                np.random.default_rng([self.seed, purpose, *name]).normal()
                for name in self.field.truth.names(rows)
            ]
        )
        if bias := self.bias:
            mean, deviation = self._scale
            common = (self._sums(rows) - mean) / deviation
            noise = math.sqrt(bias) * common + math.sqrt(1 - bias) * noise
        return self.field.truth(rows) + noise_for(self.field, tau) * noise


class SimulatedTunings(Tunings):
    """Tunings that show a network's truth and noise: nothing is trained."""

    def __init__(self, field: Field, setting: Setting, seed: int) -> None:
        """What the tunings of one search show."""
        self.simulator, self.setting = Simulator(field, seed, setting.bias), setting

    def of(self, codes: Sequence[Code], steps: int, judged: bool = False) -> list[Tuning]:
        """Tunings of networks, in their order."""
        rows = torch.tensor([tuple(code) for code in codes])
        tau = self.setting.tau_after(steps)
        seen = self.simulator.seen(rows, tau, purpose=10 + steps)
        return [
            Tuning(tuple(code), steps, LEVEL - NATS * points, points / 100, points / 100)
            for code, points in zip(codes, seen.tolist(), strict=True)
        ]
