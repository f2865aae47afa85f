"""Experiments of the kind ``clouds``: what a controller samples under each reward."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from search.evaluation.estimates import Report
from search.evaluation.jobs import CachedJobs, other_commits, short_hash
from search.evaluation.run_jobs import RunCommands, ended_runs
from search.evaluation.workers import Workers
from search.paper.cloud_report import CloudRows, cloud_conclusion, cloud_tables, draw_clouds
from search.paper.clouds import KEYS, CloudJob, CloudReward, CloudRunner, CloudScale, identity
from search.paper.cost import SEARCH_GPU_HOURS, SEARCH_STEP_S
from search.paper.experiment import scale_of
from supernet.command.output import say
from supernet.display.figures import save_figure
from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import read_as, read_yaml
from supernet.files.shipped import config_file
from supernet.files.writing import write_json
from supernet.report.search_sections import NEXT_STEP

SAMPLE_S = 0.02
"""CPU seconds of a sample, its share of an update included, on a busy core."""


@dataclass(frozen=True)
class CloudSettings:
    """Content of an experiment's file, but for its kind."""

    title: str
    claim: str
    """What the paper says."""
    rewards: tuple[CloudReward, ...]
    hard: str
    """Name of the reward that is to concentrate."""
    softs: tuple[str, ...]
    """Names of those that are to spread."""
    samples: int
    """Networks of a cloud."""
    scales: Mapping[str, CloudScale]
    note: str = ""
    """What must be known of the numbers."""

    def __post_init__(self) -> None:
        check_range("", self, "samples", least=1)
        names = [one.name for one in self.rewards]
        for name in (self.hard, *self.softs):
            check_choice("hard and softs: reward", name, names)


class SampledExperiment:
    """An experiment whose clouds are sampled.

    Args:
        settings: content of its file.
        path: of the file.
        options: of the command.
    """

    def __init__(self, settings: dict[str, Any], path: Path, options: argparse.Namespace) -> None:
        fields = {name: value for name, value in settings.items() if name != "kind"}
        try:
            self.settings = read_as(CloudSettings, fields, partial=True)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        for name in ("steps", "cluster"):
            if getattr(options, name) and options.name:
                raise UserError(f"--{name} is for experiments that train: leave it out")
        scale = scale_of(self.settings.scales, options.scale, path)
        given = {"model.table": options.table, "data.root": options.root}
        words = [f"--{name}={value}" for name, value in given.items() if value]
        seeds = options.seeds or scale.seeds
        self.scale = replace(scale, seeds=seeds, options=(*scale.options, *words))
        self.options = options

    def plan(self) -> Iterator[str]:
        """What it will do, and what that takes, in lines."""
        scale, settings, clouds = self.scale, self.settings, len(self._jobs)
        work = (
            f"{scale.seeds} searches by {scale.search} and {clouds} clouds of"
            f" {settings.samples:,} samples"
        )
        steps = self._search_steps
        if steps < 0:
            hours = SEARCH_GPU_HOURS * scale.seeds
            yield (
                f"{work}: about {hours:,.0f} GPU hours, where a search takes {SEARCH_GPU_HOURS:g}"
                " on 8 GPUs (docs/performance.md)"
            )
            return
        minutes = (SEARCH_STEP_S * steps * scale.seeds + SAMPLE_S * settings.samples * clouds) / 60
        yield (
            f"{work}: about {minutes:.0f} minutes of CPU on a busy core of a cloud machine, less"
            " what the cache holds"
        )

    @property
    def _search_steps(self) -> int:
        """Steps of a search by its config; -1 where that counts epochs."""
        settings: Any = read_yaml(config_file(self.scale.search), "name the config of a search")
        return int(settings["trainer"].get("max_steps", -1))

    @property
    def _jobs(self) -> list[CloudJob]:
        """The seed is outermost, so that what is finished is balanced."""
        rewards, seeds = self.settings.rewards, range(self.scale.seeds)
        return [CloudJob(reward, seed) for seed in seeds for reward in rewards]

    def run(self) -> Report:
        """Search and sample what is missing, and write ``paper.json`` and ``paper.png``."""
        rows, settings = self._rows(), self.settings
        every = [row for own in rows.values() for row in own]
        facts = [settings.title, f"the paper: {settings.claim}"]
        facts += filter(None, [settings.note, *self._facts(rows), other_commits(every)])
        conclusion = cloud_conclusion(rows, settings.hard, settings.softs)
        report = Report(facts, cloud_tables(rows), conclusion)
        write_json(self.options.run / "paper.json", report.plain(self.options), indent=2)
        panels = [(settings.hard, soft) for soft in settings.softs]
        save_figure(draw_clouds(rows, panels), self.options.run / "paper.png")
        return report

    def _rows(self) -> CloudRows:
        cache: Path = self.options.cache
        settings, scale, jobs = self.settings, self.scale, self._jobs
        searches = {seed: self._search(seed) for seed in range(scale.seeds)}
        folders = {seed: run.folder for seed, run in searches.items()}
        clouds = CachedJobs(
            "clouds",
            cache.with_name(f"{cache.stem}-clouds.jsonl"),
            KEYS,
            partial(identity, scale, settings.samples),
            Workers(partial(CloudRunner, scale, settings.samples, folders), self.options.processes),
            status=lambda row: f"{row['reward']}, seed {row['seed']}",
        )
        self._finish({job.seed: searches[job.seed] for job in jobs if not clouds.knows(job)})
        found = dict(zip(jobs, clouds.rows(jobs), strict=True))
        return {
            reward.name: [found[CloudJob(reward, seed)] for seed in searches]
            for reward in settings.rewards
        }

    def _search(self, seed: int) -> RunCommands:
        """The search of a seed, which goes on where it was stopped."""
        asked = [self.scale.search, self.scale.options]
        folder: Path = self.options.run / f"search-{short_hash(asked)[:8]}-{seed}"
        words = ["search", "fit", "-c", self.scale.search, *self.scale.options]
        words += ["--run", str(folder), "--seed_everything", str(seed), "--ckpt_path", "auto"]
        return RunCommands(folder, [[*words, "--wandb.mode", "disabled"]])

    def _finish(self, searches: Mapping[int, RunCommands]) -> None:
        """Make the searches that have not ended, whose last file is missing."""
        missing = {
            seed: run for seed, run in searches.items() if not (run.folder / NEXT_STEP).exists()
        }
        if missing:
            say(f"{len(missing)} searches first: {next(iter(missing.values())).log} and so on")
        for seed in ended_runs(missing, self.options.processes):
            say(f"search of seed {seed} has ended")

    def _facts(self, rows: CloudRows) -> Iterator[str]:
        """What the clouds are of."""
        first = next(iter(rows.values()))
        exponents = ", ".join(f"{row['rule']:.3f}" for row in first)
        one = first[0]
        yield (
            f"{self.scale.seeds} searches of {one['labels']} networks, tuned for"
            f" {one['label_steps']} steps each; {self.settings.samples:,} samples of a fresh"
            f" controller for each reward, T = {one['target']:.4g} {one['unit']}"
        )
        yield f"alpha = beta by the paper's rule, on each search's own front: {exponents}"
