"""What controllers are compared on: frozen supernets, an objective, and a budget for all.

The objective and the settings of the controllers are those of a search, read from its yaml file.
"""

import dataclasses
import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from search.controllers.controller import Controller
from search.controllers.policy_gradient import OVERSAMPLING
from search.controllers.settings import ControllerSettings, Kind
from search.evaluation.frozen_supernet import laid_out, load_supernets
from search.evaluation.jobs import Row, short_hash
from search.evaluation.trainings import TrainingRunner
from search.module import SearchModule
from search.monitoring.compute import running_macs
from search.objective.objective import Objective
from search.objective.reward import Reward
from search.objective.targets import Requested, one_target
from search.selection.selection import Candidate, Code
from search.settings import Final, Sampling, Score
from search.step import slice_scores
from supernet.command.trust import check_imports
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.files.reading import read_yaml
from supernet.space.arch import Arch
from supernet.training.config import TrainingConfig, read_section
from supernet.training.standalone import SHARPNESS

ROW_VERSION = 2
"""What a trial's row tells: since 2 fronts are re-scored, and judging is counted."""


@dataclass(frozen=True)
class SearchConfig:
    """The settings of a search that matter once its weights are trained."""

    target: Requested = "p40"
    """Upper limit of the cost, or several, as ``SearchModule`` takes them."""
    cost: str = "ms"
    """What is limited: ms, macs or params."""
    table: str | None = None
    """A latency table to use instead of measuring this machine."""
    table_cache: str = "runs/tables"
    reward: Reward = field(default_factory=Reward)
    sampling: Sampling = field(default_factory=Sampling)
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    final: Final = field(default_factory=Final)


def read_search(path: str | Path) -> SearchConfig:
    """Read the section ``model`` of a search's yaml, such as config.yaml in its run folder.

    Raises:
        UserError: one line that names the file and what is wrong in it.
    """
    config = read_yaml(
        path, "name the search's settings by --search, such as configs/clutter/search.yaml"
    )
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):
        raise UserError(f"{path} has no section model: name the yaml file of a search")
    known = inspect.signature(SearchModule).parameters
    unknown = next((name for name in model if name not in known), None)
    if unknown is not None:
        raise UserError(f"{path}: no search has model.{unknown}: name the yaml file of a search")
    if model.get("constraints"):
        raise UserError(
            f"{path}: trials know no constraints: name a copy of it without model.constraints"
        )
    own = {one.name for one in fields(SearchConfig)}
    section = {name: value for name, value in model.items() if name in own}
    check_imports(section, Path(path), trusted=())
    return read_section(SearchConfig, "model", section, str(path))


@dataclass(frozen=True)
class Budget:
    """What every controller may spend, and how.

    Raises:
        UserError: when the evaluations are no whole number of updates.
    """

    search: SearchConfig
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
    def score(self) -> Score:
        """What slices are scored by; a search that scores none says nothing of it."""
        asked = self.search.sampling.score
        return "soft_accuracy" if asked == "tuned" else asked

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
        """What of the budget changes the result of a controller."""
        search = self.search
        return {
            "reward": dataclasses.asdict(search.reward),
            "sampling": {**dataclasses.asdict(search.sampling), "score": self.score},
            "final": [search.final.samples, search.final.recalibration_images],
            "controller": dataclasses.asdict(search.controller).get(kind),
            "evaluations": self.evaluations,
            "top": self.top,
            "constants": [SHARPNESS, OVERSAMPLING],
            "row": ROW_VERSION,
        }


class Benchmark:
    """Loaded supernets of one space, an objective, and what scores networks, in this process."""

    def __init__(
        self, budget: Budget, training: TrainingConfig, checkpoints: Sequence[Path]
    ) -> None:
        """Load searches' checkpoints, at least one, to score on the data of a training.

        Raises:
            UserError: when a checkpoint, the data or the target are refused.
        """
        self.budget, search = budget, budget.search
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
        self._rescored: dict[tuple[int, Code], tuple[Candidate, float]] = {}
        # Too few images are refused before anything long begins.
        self.batch_size = len(next(self.batches(0, 0))[1])

    def identity(self, supernet: int, kind: Kind) -> Row:
        """What identifies the trials of a kind on a supernet, but for their seed."""
        model, known = self.objective.cost_model, self.supernets[supernet].identity
        device = {"unit": model.unit, "hash": model.hash, "target": self.target}
        settings = short_hash({**self.budget.identity(kind), **device})
        shared = {"supernet": known["supernet"], "data": known["data"]}
        return {**shared, "contest": settings, "controller": kind}

    def batches(self, supernet: int, seed: int) -> Iterator[Batch]:
        """The reward batches of the trials with a seed, one for each update.

        They come from the images on which the supernet's own search scored, as a datamodule
        without a reward part has them held out by that search's seed.
        """
        frozen, images = self.supernets[supernet], self.budget.search.sampling.images
        data = RunData(self.runner.data, "search", frozen.seed, reward_batch_size=images)
        for number in range(self.budget.updates):
            yield laid_out(data)(data.reward_batch(seed * self.budget.updates + number, 0))

    def slice_scores(self, supernet: int, indices: Tensor, batch: Batch) -> Tensor:
        """What ``score`` says of the slices of architectures (M, D), on batch statistics, (M,)."""
        archs, score = [self.space.decode(row) for row in indices.tolist()], self.budget.score
        with torch.inference_mode():
            found = slice_scores(self.supernets[supernet].supernet, archs, *batch, score)
        return found.clone()  # outside, so that a controller may differentiate what it multiplies

    def rescored(self, supernet: int, code: Code) -> Candidate:
        """A network judged on the whole validation split, batch norms recalibrated.

        Its score is the budget's, as what a controller was rewarded by counts.
        """
        return self._judged(supernet, code)[0]

    def judging(self, supernet: int, codes: Iterable[Code]) -> Row:
        """What it takes to re-score networks: images x multiply-adds, and CPU seconds.

        All of them count, also those that another trial had re-scored before.
        """
        frozen, codes = self.supernets[supernet], list(dict.fromkeys(codes))
        archs = map(self.space.decode, codes)
        return {
            "judging_image_macs": running_macs(self.space, archs, frozen.num_judging_images),
            "judging_seconds": round(sum(self._judged(supernet, one)[1] for one in codes), 3),
        }

    def _judged(self, supernet: int, code: Code) -> tuple[Candidate, float]:
        """A re-scored network, and the CPU seconds that it took."""
        if (supernet, code) not in self._rescored:
            start, arch = time.process_time(), self.space.decode(code)
            found = self.supernets[supernet].evaluate(arch)._asdict()
            score = found[self.budget.score]
            candidate = Candidate(code, self.cost(arch), found["accuracy"], score)
            self._rescored[supernet, code] = candidate, time.process_time() - start
        return self._rescored[supernet, code]

    def cost(self, arch: Arch) -> float:
        """Predicted cost, in the target's unit."""
        return self.objective.cost_model.predict(self.space.spec(arch))

    def code(self, indices: Sequence[int]) -> Code:
        """The canonical indices of the network that ``indices`` spell."""
        return self.space.encode(self.space.canonical(self.space.decode(indices)))
