"""Planning: what a folder, a device, a target and a budget lead to, found by measuring."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from search.objective.costs import BlockCosts, cost_model
from search.objective.targets import resolve_targets
from search.plan.estimate import Images, Rates, RunLengths, TimeEstimate
from search.plan.measure import Measuring, this_machine
from search.plan.rules import (
    GOOD_EPOCHS,
    GOOD_TUNING,
    LARGEST,
    PROFILES,
    Machine,
    Profile,
    batch_size,
    preset,
    resolutions,
    space_width,
)
from supernet.cost.model import CLOSED_FORMS, CostModel
from supernet.data.folder_images import OnBadImage
from supernet.data.image_folder import ImageFolder
from supernet.data.images.image_index import index_images, relative_to
from supernet.data.splits import default_stem_stride
from supernet.errors import UserError
from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

SAMPLED, MEASURED = 64, 2
"""Uniform networks of the space that are priced, and those nearest the target that are trained."""
USUAL_SHARE = 0.4
"""Place of the target among the space's networks, from 0 (cheapest) to 1, until it is known."""


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is for."""

    root: Path
    """Folder of images."""
    target: str
    cost: Literal["ms", "macs", "params"]
    table: str | None
    table_cache: str
    budget: float | None
    """Seconds for all; None where a profile says the lengths."""
    profile: Profile
    resolution: int | None
    """Side of the images, px; None leaves it to the rules."""
    on_bad_image: OnBadImage = "error"


@dataclass(frozen=True)
class PlannedRuns:
    """Lengths that suit a request, and what they follow from."""

    space: MnasSpace
    estimate: TimeEstimate
    lengths: RunLengths
    memory: float
    """Bytes that training takes at most, without the processes that read images."""
    smaller_than: int
    """Resolution that the images would have had in more time; 0 where they have it."""


def make_plan(request: PlanRequest) -> PlannedRuns:
    """Measure and settle everything.

    Raises:
        UserError: when the images, the target or the budget cannot work.
    """
    px = request.resolution or LARGEST[-1]
    data = ImageFolder(str(request.root), resolution=px, on_bad_image=request.on_bad_image)
    return Planner(request, data, this_machine()).plan()


def image_facts(data: ImageFolder) -> Images:
    """Numbers and sizes of the images of a folder, each of which is read once."""
    layout, dealt = data.layout, data.found.dealt.records
    paths = [relative_to(path, layout.root) for held in layout.files.values() for path, _ in held]
    index = index_images(layout.root, paths, data.reader)
    sides = [min(one.width, one.height) for one in index if not one.error]
    weights, reward, val, test = (len(dealt[name]) for name in ("weights", "reward", "val", "test"))
    classes, sizes = len(data.classes), data.sizes
    return Images(weights, weights + reward, val, test, classes, int(median(sides)), sizes)


class Planner:
    """Answers one request."""

    def __init__(self, request: PlanRequest, data: ImageFolder, machine: Machine) -> None:
        self.request, self.machine = request, machine
        self.images = image_facts(data)
        self.batch = batch_size(self.images.num_weights, machine)
        per_class = self.images.num_training / self.images.num_classes
        self.measuring = Measuring(data, machine, self.batch, preset(per_class))
        self.table = LatencyTable.read(request.table) if request.table else None
        if self.table:  # a target that is a percentile asks it nothing
            self.table.check_covers(self.space(self.table.space.resolution))

    def plan(self) -> PlannedRuns:
        """The largest images that leave good lengths, and these lengths."""
        percentile = percentile_of(self.request.target)
        share = USUAL_SHARE if percentile is None else percentile
        offered = self._resolutions()
        for resolution in reversed(offered):
            space = self.space(resolution)
            estimate = self._estimate(self._rates(space, CLOSED_FORMS["macs"], share))
            if resolution == offered[0] or self._is_good(estimate):
                break
        if percentile is None:
            estimate = self._aimed(space, estimate)
        lengths = self._lengths(estimate)
        memory = self.measuring.peak_memory()
        smaller = offered[-1] if resolution < offered[-1] else 0
        return PlannedRuns(space, estimate, lengths, memory, smaller)

    def space(self, resolution: int) -> MnasSpace:
        """The space of a table, or the paper's at a width that suits the images."""
        width = space_width(self.images.num_training, self.machine)
        return dataclasses.replace(
            self.table.space if self.table else MnasSpace(width=width),
            stem_stride=default_stem_stride(resolution),
            resolution=resolution,
            classes=self.images.num_classes,
        )

    def _resolutions(self) -> list[int]:
        """Sides to choose from, from the smallest."""
        if self.table:
            return [self.table.space.resolution]
        if self.request.resolution:
            return [self.request.resolution]
        most = () if self.request.budget else (PROFILES[self.request.profile].side,)
        return resolutions(self.images.side, self.machine, *most)

    def _rates(self, space: MnasSpace, model: CostModel, share: float) -> Rates:
        return self.measuring.rates(typical_networks(space, model, share))

    def _estimate(self, rates: Rates) -> TimeEstimate:
        measures = self.request.cost == "ms" and not self.table
        return TimeEstimate(self.images, self.machine, self.batch, rates, measures)

    def _lengths(self, estimate: TimeEstimate) -> RunLengths:
        if self.request.budget is None:
            return estimate.of_profile(self.request.profile)
        return estimate.within(self.request.budget)

    def _is_good(self, estimate: TimeEstimate) -> bool:
        """Whether a budget pays for more than the least at this resolution."""
        try:
            lengths = self._lengths(estimate)
        except UserError:
            return False
        return self.request.budget is None or (
            lengths.tuning >= GOOD_TUNING and lengths.epochs >= GOOD_EPOCHS
        )

    def _aimed(self, space: MnasSpace, estimate: TimeEstimate) -> TimeEstimate:
        """The estimate by networks near a target that is no percentile.

        Raises:
            UserError: when no network meets it.
        """
        request = self.request
        model = cost_model(request.cost, space, request.table, request.table_cache)
        (target,) = resolve_targets(request.target, BlockCosts(space, model))
        costs = [model.predict(spec) for spec in sampled(space)]
        share = sum(cost <= target.cost for cost in costs) / SAMPLED
        return dataclasses.replace(
            estimate, rates=self._rates(space, model, share), measures_table=False
        )


def percentile_of(target: str) -> float | None:
    """Place of a target among a space's networks, from 0 to 1; None where only a table tells."""
    found = re.fullmatch(r"p(\d*\.?\d+)", target.strip())
    return float(found[1]) / 100 if found and float(found[1]) <= 100 else None


def sampled(space: MnasSpace) -> list[NetSpec]:
    """Uniform networks of a space, always the same."""
    rng = random.Random(0)
    return [space.spec(space.sample(rng)) for _ in range(SAMPLED)]


def typical_networks(space: MnasSpace, model: CostModel, share: float) -> Sequence[NetSpec]:
    """Networks of a space at a place of its costs."""
    ranked = sorted(sampled(space), key=model.predict)
    place = min(int(share * SAMPLED), SAMPLED - MEASURED)
    return ranked[place : place + MEASURED]
