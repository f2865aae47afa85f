"""Searches of an experiment: one for each row and seed, each a run of ``mnasnet search``."""

import dataclasses
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from search.evaluation.jobs import CachedJobs, Row, commit, short_hash
from search.evaluation.run_jobs import RunCommands, Runs
from search.monitoring.compute import Spent
from search.objective.costs import cost_model
from search.objective.targets import resolve_target
from search.paper.experiment import Scale
from supernet.arch_file import read_arch
from supernet.data.splits import default_stem_stride
from supernet.files.reading import read_yaml
from supernet.files.shipped import config_file
from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.space.spec import NetSpec

TABLES = "runs/tables"
"""Folder of measured latency tables."""


@dataclass(frozen=True)
class SearchJob:
    """A search: options beside those of all, and its seed."""

    words: tuple[str, ...]
    seed: int


class Searches:
    """Searches by one config and for one target, done or found in the cache.

    Args:
        scale: config, options and target of all.
        path: of the cache; runs lie in a folder beside it.
        options: of the command.
    """

    def __init__(self, scale: Scale, path: Path, options: Namespace) -> None:
        self.scale, self.path, self.options = scale, path, options
        self.config = config_file(scale.search)
        self.settings: Any = read_yaml(self.config, "name the config of a search")
        runs = Runs(self.commands, self.result, options.processes)
        self.jobs = CachedJobs("searches", path, ("search", "seed"), self.identity, runs)

    @property
    def num_steps(self) -> int:
        """Steps of a search by its config; -1 where that counts epochs."""
        return int(self.settings["trainer"].get("max_steps", -1))

    def rows(self, words: Sequence[tuple[str, ...]], seeds: range) -> list[list[Row]]:
        """Searches with options of their own, each with every seed."""
        done = self.jobs.rows([SearchJob(one, seed) for seed in seeds for one in words])
        return [done[place :: len(words)] for place in range(len(words))]

    def identity(self, job: SearchJob) -> Row:
        """What identifies a search: settings, options, target as it was asked for, and seed."""
        told = {
            "config": self.settings,
            "words": [*self.scale.options, *job.words],
            "target": self.scale.target,
        }
        return {"search": short_hash(json.loads(json.dumps(told, default=str))), "seed": job.seed}

    def commands(self, job: SearchJob) -> RunCommands:
        """The command of a search, which goes on where it was stopped."""
        identity = self.identity(job)
        folder = self.path.with_suffix("") / f"{identity['search']}-{job.seed}"
        words = ["search", "fit", "-c", str(self.config), "--run", str(folder)]
        words += ["--ckpt_path", "auto", "--seed_everything", str(job.seed), *self._limit]
        words += ["--model.final.measured=0", "--wandb.mode=disabled"]
        if self.options.root:
            words += ["--data.root", str(self.options.root)]
        return RunCommands(folder, [[*words, *self.scale.options, *job.words]])

    def result(self, job: SearchJob, folder: Path) -> Row:
        """The row that the cache keeps of a search that has ended."""
        found, spent = read_arch(folder / "arch.json"), Spent.read(folder / "cost.json")
        return {
            **self.identity(job),
            "commit": commit(),
            "options": [*self.scale.options, *job.words],
            "target": self.scale.target,
            "limit": found.target,
            "predicted": found.predicted,
            "unit": found.unit,
            "blocks": found.spec.block_strings(),
            "spec": json.loads(found.spec.to_json()),
            **({"cpu_seconds": spent.cpu_seconds, "image_macs": spent.image_macs} if spent else {}),
        }

    @cached_property
    def _limit(self) -> list[str]:
        """Options of all searches about what is limited, the target as a number.

        Rows differ in their spaces, and a percentile of each would be another target.
        """
        unit = self._unit
        model = cost_model(unit, self.space, self.options.table if unit == "ms" else None, TABLES)
        words = []
        if isinstance(model, LatencyTable):
            table = self.options.run / "latency.json"
            model.write(table)
            words = [f"--model.table={table}"]
        if self.scale.target:
            words.append(f"--model.target={resolve_target(self.scale.target, model, self.space)}")
        return words

    @property
    def _unit(self) -> str:
        given = [one for one in self.scale.options if one.startswith("--model.cost=")]
        return given[-1].partition("=")[2] if given else self.settings["model"].get("cost", "ms")

    @cached_property
    def space(self) -> MnasSpace:
        """Space of the config, at this scale's images."""
        told = self.settings["model"]["space"]
        beside = self.config.parent / str(told)
        scale = self.scale
        return dataclasses.replace(
            read_space(beside if beside.is_file() else told),
            classes=scale.classes,
            resolution=scale.resolution,
            stem_stride=default_stem_stride(scale.resolution),
        )


def spec_of(row: Row) -> NetSpec:
    """The network that a search has found."""
    return NetSpec.from_dict(row["spec"])
