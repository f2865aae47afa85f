"""Model of a search's cost: images, multiply-adds, hours and bytes by the parts of a search."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.gpu_check.rows import RATES
from search.gradients.slices import PathSlices, num_weights
from search.monitoring.compute import FORWARD_PASSES, path_macs
from search.paths import warmup_path
from search.settings import Final, Lengths, Schedule, SurrogateSettings, tuning_lengths
from supernet.arch_file import load_spec
from supernet.cost.counts import count
from supernet.files.reading import read_as, read_yaml
from supernet.network.supernet import SuperNet
from supernet.space.arch import Path as NetworkPath
from supernet.space.mnasnet import MnasSpace, read_space

IMAGES = 1_281_167
"""Training images of ImageNet."""
REWARD_SHARE = 0.1
"""Share of the training images that a search holds out (``ImageFolder``)."""
NEAR_TARGET = 0.8
"""Multiply-adds of networks near the target, over MnasNet-A1's: taken for its share of latency."""
ASSUMED_IMAGES = 1500
"""Images a second that a GPU trains MnasNet-A1 on, where none has been measured."""
ASSUMED_LINK = 10e9
"""Bytes a second that a GPU exchanges with others, where nothing else is sent meanwhile."""
NUM_PATHS, NUM_STEPS = 300, 12
"""Paths whose multiply-adds are averaged; steps whose gradients are."""
PARTS = ("warm-up", "uniform", "tunings", "retraining")


@dataclass(frozen=True)
class Rates:
    """Multiply-adds of forward passes that a GPU trains a second."""

    by_kind: Mapping[str, float]
    source: str
    """Where they are from, in words."""

    @staticmethod
    def read(path: Path) -> Rates:
        """Those of the latest check in a file; else the assumed ones."""
        lines = path.read_text().splitlines() if path.exists() else []
        names = {name: kind for kind, name in RATES.items()}
        found: dict[str, dict[str, float]] = {}
        for row in map(json.loads, lines):
            if row["name"] in names:
                where = f"measured on one {row['device']} ({row['commit']})"
                found.setdefault(where, {})[names[row["name"]]] = row["value"]
        whole = [where for where, rates in found.items() if rates.keys() == RATES.keys()]
        if whole:
            return Rates(found[whole[-1]], whole[-1])
        assumed = FORWARD_PASSES * ASSUMED_IMAGES * count(load_spec("mnasnet_a1")).macs
        words = f"assumed: {ASSUMED_IMAGES:,} images/s of MnasNet-A1 in training"
        return Rates(dict.fromkeys(RATES, assumed), words)


@dataclass(frozen=True)
class Recipe:
    """What two configs say of a search and of the retraining of its choice."""

    space: MnasSpace
    schedule: Schedule
    surrogate: SurrogateSettings
    final: Final
    epochs: int
    batch: int
    """Images of a step of one GPU."""
    workers: int
    """Processes that read images for one GPU."""
    retraining_epochs: int

    @staticmethod
    def read(folder: Path) -> Recipe:
        """Of ``search.yaml`` and ``retrain.yaml`` in a folder."""
        search: Any = read_yaml(folder / "search.yaml", "name a folder of configs")
        retraining: Any = read_yaml(folder / "retrain.yaml", "name a folder of configs")
        model, data = search["model"], search["data"]["init_args"]
        final = read_as(Final, model["final"], "final.", partial=True)
        return Recipe(
            read_space(folder / model["space"]),
            read_as(Schedule, model["schedule"], "schedule.", partial=True),
            read_as(SurrogateSettings, model["surrogate"], "surrogate.", partial=True),
            final.settled("tuned"),
            search["trainer"]["max_epochs"],
            data["batch_size"],
            data["num_workers"],
            retraining["trainer"]["max_epochs"],
        )


@dataclass(frozen=True)
class Drawn:
    """Paths of the shared steps: means over the whole schedule."""

    recipe: Recipe

    def path(self, rng: random.Random, progress: float) -> NetworkPath:
        """A path at a progress in [0, 1]."""
        space, chance = self.recipe.space, self.recipe.schedule.warmup_probability(progress)
        return warmup_path(space.sample(rng), space, chance, rng)

    @cached_property
    def macs(self) -> dict[str, float]:
        """Mean multiply-adds of an image in warm-up, and of one on a uniform path."""
        found: dict[str, list[int]] = {"warm-up": [], "uniform": []}
        schedule, rng = self.recipe.schedule, random.Random(0)
        for number in range(NUM_PATHS):
            progress = (number + 0.5) / NUM_PATHS
            stream = schedule.stream_weight(progress) > 0
            macs = path_macs(self.recipe.space, self.path(rng, progress), stream)
            mixed = schedule.warmup_probability(progress) > 0
            found["warm-up" if mixed else "uniform"].append(macs)
        return {kind: fmean(values) if values else 0.0 for kind, values in found.items()}

    @cached_property
    def slices(self) -> PathSlices:
        """Of a supernet of the space, without weights."""
        return PathSlices(meta_supernet(self.recipe.space))

    def gradient_bytes(self, ranks: int) -> dict[str, float]:
        """Mean bytes that a step exchanges in warm-up and on uniform paths: the union of slices."""
        schedule, rng = self.recipe.schedule, random.Random(0)
        spans = {"warm-up": (0.0, schedule.warmup), "uniform": (schedule.warmup, 1.0)}
        found = {}
        for kind, (begin, end) in spans.items():
            numbers = []
            for step in range(NUM_STEPS):
                progress = begin + (step + 0.5) / NUM_STEPS * (end - begin)
                paths = [self.path(rng, progress) for _ in range(ranks)]
                stream = schedule.stream_weight(progress) > 0
                boxes = self.slices.covering(paths, stream).values()
                numbers.append(sum(map(num_weights, boxes)))
            found[kind] = 4 * fmean(numbers) if ranks > 1 else 0.0
        return found


@dataclass(frozen=True)
class Cost:
    """A search and a retraining on a number of GPUs."""

    recipe: Recipe
    drawn: Drawn
    rates: Rates
    gpus: int

    @property
    def steps(self) -> int:
        """``trainer.max_steps`` that the epochs come to."""
        images = round((1 - REWARD_SHARE) * IMAGES)
        return self.recipe.epochs * (images // (self.recipe.batch * self.gpus))

    @property
    def shared_steps(self) -> int:
        """Those that train shared weights."""
        return self.recipe.schedule.shared_steps(self.steps, "tuned")

    @property
    def lengths(self) -> Lengths:
        """Steps of each tuning."""
        left = self.steps - self.shared_steps
        return tuning_lengths(left, "tuned", self.recipe.surrogate, self.recipe.final, 1)

    def macs(self, part: str) -> float:
        """Multiply-adds of an image."""
        near = NEAR_TARGET * count(load_spec("mnasnet_a1")).macs
        return self.drawn.macs.get(part, near)

    def images(self, part: str) -> float:
        """Images trained on by all GPUs together."""
        recipe, shared = self.recipe, self.recipe.batch * self.gpus * self.shared_steps
        tuned = (
            self.lengths.label * recipe.surrogate.networks + self.lengths.final * recipe.final.num
        )
        return {
            "warm-up": shared * recipe.schedule.warmup,
            "uniform": shared * (1 - recipe.schedule.warmup),
            "tunings": recipe.batch * tuned,
            "retraining": IMAGES * recipe.retraining_epochs,
        }[part]

    def speed(self, part: str) -> float:
        """Images that one GPU trains on a second."""
        kind = {"tunings": "alone"}.get(part, part)
        return self.rates.by_kind[kind] / FORWARD_PASSES / self.macs(part)

    def gpu_hours(self, part: str) -> float:
        """Of computing alone."""
        return self.images(part) / self.speed(part) / 3600

    def hours(self, part: str) -> float:
        """By the clock: networks of a round are dealt to GPUs, of which some may have none."""
        if part != "tunings":
            return self.gpu_hours(part) / self.gpus
        rounds = [*self.recipe.surrogate.sizes(), self.recipe.final.num]
        turns = sum(math.ceil(size / self.gpus) for size in rounds)
        return self.gpu_hours(part) * turns / sum(rounds)


def meta_supernet(space: MnasSpace) -> SuperNet:
    """A supernet without numbers, to be counted."""
    with torch.device("meta"):
        return SuperNet(space)
