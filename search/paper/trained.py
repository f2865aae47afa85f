"""Experiments of the kind ``trainings``: networks, given or searched, trained with every seed."""

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from search.evaluation.estimates import Report
from search.evaluation.jobs import CachedJobs, Row, commit
from search.evaluation.options import training_of
from search.evaluation.trainings import Job, Trainings, check_shape, network_hash
from search.paper.cost import TrainingLength, plan_line
from search.paper.experiment import TableRow, read_experiment, scale_of
from search.paper.figure import draw_experiment
from search.paper.networks import at_size, given_network
from search.paper.results import RowResult, make_report
from search.paper.retrained import Retraining, retrainings
from search.paper.searched import Searches, spec_of
from supernet.data.splits import default_stem_stride
from supernet.display.figures import save_figure
from supernet.files.shipped import config_file
from supernet.files.writing import write_json
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.this_machine import measure_specs
from supernet.space.spec import NetSpec
from supernet.training.config import TrainingConfig

FIRST_SEED = 100
"""Seed of the first training: a search has never seen it."""


class TrainedExperiment:
    """An experiment whose rows are trained.

    Args:
        settings: content of its file.
        path: of the file.
        options: of the command.
    """

    def __init__(self, settings: dict[str, Any], path: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.experiment = read_experiment(settings, path)
        scale = scale_of(self.experiment.scales, options.scale, path)
        self.scale = dataclasses.replace(scale, seeds=options.seeds or scale.seeds)
        length = TrainingLength.read(config_file(scale.training))
        steps = options.steps or scale.steps or length.max_steps
        self.length = dataclasses.replace(length, max_steps=steps)

    @cached_property
    def training(self) -> TrainingConfig:
        """Data and recipe of the trainings."""
        config = config_file(self.scale.training)
        return training_of(argparse.Namespace(config=config, trust=(), root=self.options.root))

    @property
    def seeds(self) -> range:
        """Seeds of the trainings."""
        return range(FIRST_SEED, FIRST_SEED + self.scale.seeds)

    def resolution(self, row: TableRow) -> int:
        """Side of a row's images, px."""
        return at_size(row.size, self.scale.resolution)

    def training_at(self, resolution: int) -> TrainingConfig:
        """The config of the trainings, of images of another side."""
        arguments = {**self.training.data["init_args"], "resolution": resolution}
        return dataclasses.replace(
            self.training, data={**self.training.data, "init_args": arguments}
        )

    def network(self, row: TableRow) -> NetSpec:
        """The network of a row that names one, for this scale's images."""
        spec = given_network(row.network, row.layers, row.width, self.scale.smaller)
        resolution, classes = self.resolution(row), self.scale.classes
        stem_stride = default_stem_stride(resolution)
        return spec.scaled(resolution=resolution, classes=classes, stem_stride=stem_stride)

    @cached_property
    def searches(self) -> dict[str, list[Row]]:
        """The search of each seed, by row; done now where the cache has none."""
        rows = [row for row in self.experiment.rows if row.search is not None]
        if not rows:
            return {}
        searches = Searches(self.scale, self._cache("searches"), self.options)
        found = searches.rows([row.search or () for row in rows], range(self.scale.seeds))
        return dict(zip((row.name for row in rows), found, strict=True))

    @cached_property
    def specs(self) -> dict[str, list[NetSpec]]:
        """The network of each seed, by row: the same one, or what that search has found."""
        return {
            row.name: [spec_of(one) for one in self.searches[row.name]]
            if row.search is not None
            else [self.network(row)] * self.scale.seeds
            for row in self.experiment.rows
        }

    def plan(self) -> Iterator[str]:
        """What it will do, and what that takes, in lines."""
        given = [self.network(row) for row in self.experiment.rows if row.network]
        num_searches = len(self.experiment.rows) - len(given)
        found, search_steps = list[NetSpec](), 0
        if num_searches:
            searches = Searches(self.scale, self._cache("searches"), self.options)
            space, search_steps = searches.space, searches.num_steps
            found = [space.spec(next(space.samples(seed=0)))] * num_searches
        seeds = self.scale.seeds
        yield plan_line([*given, *found] * seeds, num_searches * seeds, search_steps, self.length)

    # --- what it does -------------------------------------------------------------------------

    def run(self) -> Report:
        """Measure, train what is missing, and write ``paper.json`` and ``paper.png``.

        Raises:
            UserError: when a part fails.
        """
        times = self._times([spec for specs in self.specs.values() for spec in specs])
        trained = self._train()
        results = [
            RowResult(
                row,
                self.specs[row.name],
                trained[row.name],
                [times["ms"][network_hash(spec)] for spec in self.specs[row.name]],
                self.searches.get(row.name, ()),
            )
            for row in self.experiment.rows
        ]
        report = make_report(self.experiment, results, self._trained, times["device"])
        rows = [record for one in results for record in one.plain()]
        plain = report.plain(self.options, rows=rows)
        write_json(self.options.run / "paper.json", plain, indent=2)
        figure = draw_experiment(self.experiment, results, times["device"])
        save_figure(figure, self.options.run / "paper.png")
        return report

    @property
    def _trained(self) -> str:
        length = f"{self.length.max_steps} steps of {self.length.batch_size} images"
        return f"{self.scale.seeds} seeds, trainings of {length} by {self.scale.training}"

    def _times(self, specs: Sequence[NetSpec]) -> Row:
        """Latency of networks, measured in turns, by their hash; and the device."""
        distinct = {network_hash(spec): spec for spec in specs}
        times = CachedJobs(
            "latency",
            self._cache("times"),
            ("networks",),
            lambda _: {"networks": sorted(distinct)},
            partial(map, _measure),
        )
        return times.rows([distinct])[0]

    def _cache(self, what: str) -> Path:
        cache: Path = self.options.cache
        return cache.with_name(f"{cache.stem}-{what}.jsonl")

    def _train(self) -> dict[str, list[Row]]:
        """Trainings of each row, one for each seed."""
        if self.scale.runs:
            return self._retrain()
        found = dict[str, list[Row]]()
        for resolution in dict.fromkeys(map(self.resolution, self.experiment.rows)):
            found |= self._train_at(resolution)
        return found

    def _train_at(self, resolution: int) -> dict[str, list[Row]]:
        """Those of images of one side, all with the first seed before any with the next."""
        options, training = self.options, self.training_at(resolution)
        rows = [row for row in self.experiment.rows if self.resolution(row) == resolution]
        for row in rows:
            check_shape(f"{row.name} has", self.specs[row.name][0], training.make_data())
        trainings = Trainings(training, options.cache, options.processes, options.cluster)
        jobs = [
            Job(self.specs[row.name][place], seed, self.length.max_steps)
            for place, seed in enumerate(self.seeds)
            for row in rows
        ]
        done = trainings.rows(jobs)
        return {row.name: done[place :: len(rows)] for place, row in enumerate(rows)}

    def _retrain(self) -> dict[str, list[Row]]:
        """The same as runs of their own."""
        rows = self.experiment.rows
        jobs = [
            Retraining(self.specs[row.name][place], seed, row.published)
            for place, seed in enumerate(self.seeds)
            for row in rows
        ]
        done = retrainings(self.scale.training, self.options.cache, self.options).rows(jobs)
        return {row.name: done[place :: len(rows)] for place, row in enumerate(rows)}


def _measure(networks: dict[str, NetSpec]) -> Row:
    """The row that the cache keeps of networks by their hashes."""
    times = measure_specs(list(networks.values()))
    return {
        "networks": sorted(networks),
        "device": device_name(OnnxRuntime(Backend()).description()),
        "ms": dict(zip(networks, times, strict=True)),
        "commit": commit(),
    }
