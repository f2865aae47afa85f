"""Where controllers compete: frozen supernets, held-out images, a device, and rules for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.controllers.controller import Controller
from search.controllers.policy_gradient import OVERSAMPLING
from search.controllers.settings import Kind
from search.evaluation.frozen_supernet import load_supernets
from search.evaluation.jobs import Row, short_hash
from search.evaluation.search_config import SearchFile
from search.evaluation.trainings import TrainingRunner
from search.objective.objective import Objective
from search.objective.targets import one_target
from search.selection.selection import Candidate, Code
from search.step import slice_scores
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.training.config import TrainingConfig
from supernet.training.standalone import SHARPNESS


@dataclass(frozen=True)
class Rules:
    """What is the same for all controllers.

    Raises:
        UserError: when the evaluations are no whole number of updates.
    """

    search: SearchFile
    """Target, reward, images and samples of an update, settings of the controllers."""
    evaluations: int
    """How often a controller may have an architecture scored on a reward batch."""
    top: int
    """How many are scored again in the end, and how many of those within the target."""

    def __post_init__(self) -> None:
        """Refuse a last update that lacks samples."""
        samples = self.search.sampling.samples
        if self.evaluations < samples or self.evaluations % samples:
            raise UserError(
                f"--evaluations is {self.evaluations}, it must be a multiple of the {samples}"
                " samples of an update (sampling.samples)"
            )

    @property
    def updates(self) -> int:
        """How often a controller learns."""
        return self.evaluations // self.search.sampling.samples

    def controller(self, kind: Kind, sizes: Sequence[int], seed: int) -> Controller:
        """A fresh controller for decisions of ``sizes``, a function of the arguments."""
        settings = dataclasses.replace(self.search.controller, kind=kind)
        keep = 1 + self.search.final.samples
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return settings.build(sizes, self.search.sampling.samples, keep)

    def identity(self, kind: Kind) -> Row:
        """What of the rules changes the result of a controller."""
        search = self.search
        return {
            "reward": dataclasses.asdict(search.reward),
            "sampling": dataclasses.asdict(search.sampling),
            "final": [search.final.samples, search.final.recalibration_images],
            "controller": dataclasses.asdict(search.controller).get(kind),
            "evaluations": self.evaluations,
            "top": self.top,
            "constants": [SHARPNESS, OVERSAMPLING],
        }


class Arena:
    """Loaded supernets of one space, and what scores their networks, in this process."""

    def __init__(self, rules: Rules, training: TrainingConfig, checkpoints: Sequence[Path]) -> None:
        """Load everything.

        Args:
            rules: of all contests.
            training: whose data to score on.
            checkpoints: of searches, at least one.

        Raises:
            UserError: when a checkpoint, the data or the target are refused.
        """
        self.rules, search = rules, rules.search
        self.runner = TrainingRunner(training)
        images, advice = search.final.recalibration_images, "compare controllers on them apart"
        self.supernets = load_supernets(checkpoints, self.runner, images, advice)
        self.space = self.supernets[0].space
        self.objective = Objective.resolve(
            self.space,
            search.reward,
            one_target(search.target),
            search.cost,
            search.table,
            search.table_cache,
        )
        self.target = self.objective.targets[0].cost
        self._rescored: dict[tuple[int, Code], Candidate] = {}
        # Too few images are refused before anything long begins.
        self.batch_size = len(next(self.batches(0, 0))[1])

    def identity(self, supernet: int, kind: Kind) -> Row:
        """What identifies the contests of a kind on a supernet, but for their seed."""
        model, known = self.objective.cost_model, self.supernets[supernet].identity
        device = {"unit": model.unit, "hash": model.hash, "target": self.target}
        contest = short_hash({**self.rules.identity(kind), **device})
        shared = {"supernet": known["supernet"], "data": known["data"]}
        return {**shared, "contest": contest, "controller": kind}

    def batches(self, supernet: int, seed: int) -> Iterator[Batch]:
        """The reward batches of the contests with a seed, one for each update.

        They come from the images on which the supernet's own search scored, as a datamodule
        without a reward part has them held out by that search's seed.
        """
        frozen, images = self.supernets[supernet], self.rules.search.sampling.images
        data = RunData(self.runner.data, "search", frozen.seed, reward_batch_size=images)
        for number in range(self.rules.updates):
            pixels, labels = data.reward_batch(seed * self.rules.updates + number, 0)
            yield pixels.contiguous(memory_format=torch.channels_last), labels

    def slice_scores(self, supernet: int, archs: list[Arch], batch: Batch) -> Tensor:
        """What ``sampling.score`` says of each architecture's slice, on batch statistics, (M,)."""
        score = self.rules.search.sampling.score
        with torch.inference_mode():
            found = slice_scores(self.supernets[supernet].supernet, archs, *batch, score)
        return found.clone()  # outside, so that a controller may differentiate what it multiplies

    def rescored(self, supernet: int, code: Code) -> Candidate:
        """A network judged on the whole validation split, batch norms recalibrated.

        Its score is what ``sampling.score`` says, as what a controller was rewarded by counts.
        """
        if (supernet, code) not in self._rescored:
            arch = self.space.decode(code)
            found = self.supernets[supernet].evaluate(arch)._asdict()
            score = found[self.rules.search.sampling.score]
            candidate = Candidate(code, self.cost(arch), found["accuracy"], score)
            self._rescored[supernet, code] = candidate
        return self._rescored[supernet, code]

    def cost(self, arch: Arch) -> float:
        """Predicted cost, in the target's unit."""
        return self.objective.cost_model.predict(self.space.spec(arch))

    def code(self, indices: Sequence[int]) -> Code:
        """The canonical indices of the network that ``indices`` spell."""
        return self.space.encode(self.space.canonical(self.space.decode(indices)))
