"""Trains networks alone, each once for a seed, and keeps every result in a cache."""

import dataclasses
import json
import pkgutil
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden

from search.evaluation.jobs import CachedJobs, Row, commit, short_hash
from search.evaluation.workers import Workers
from supernet.cost.counts import count
from supernet.data.datamodule import image_shape, own_description
from supernet.data.records import data_digest, given_records
from supernet.data.resumable import StepBatchSampler, resumable
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.space.mnasnet import MnasSpace, read_space
from supernet.space.spec import NetSpec
from supernet.training.config import RENAMED, TrainingConfig
from supernet.training.standalone import evaluate, train_alone

UNCHANGED = {"crop_area": 0.08, "flip": 0.5, "crop_pct": 0.875}
"""Settings of data of later versions, by the values that they had before they could be set."""


@dataclass(frozen=True)
class Job:
    """A network to train with a seed."""

    spec: NetSpec
    seed: int
    num_steps: int


class TrainingRunner:
    """Trains and tests networks on the data of a config, in this process."""

    def __init__(self, training: TrainingConfig) -> None:
        """Make the data ready.

        Raises:
            UserError: when the data are refused, cannot be read without Lightning, or are others
                than the training's, as they may be on another machine.
        """
        self.training = training
        self.data = ready(training.make_data())
        if training.digest and data_digest(given_records(self.data) or []) != training.digest:
            raise UserError(
                f"{training.data['init_args']['root']} on {platform.node()} does not hold the"
                " images that the command began with: let it hold them on every machine, or begin"
                " anew"
            )

    def __call__(self, job: Job) -> Row:
        """Train one network; the row that the cache keeps of it."""
        wall, cpu = time.perf_counter(), time.process_time()
        network = train_alone(
            job.spec,
            self.training.recipe,
            self.data.train_dataloader(),
            job.seed,
            job.num_steps,
            own_description(self.data, job.spec.classes).preprocessing,
        )
        seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        val = evaluate(network, self.data.val_dataloader())
        test = evaluate(network, self.data.test_dataloader())
        macs = count(job.spec).macs
        return {
            **identity(self.training, job),
            "steps": job.num_steps,
            "commit": commit(),
            "blocks": job.spec.block_strings(),
            "val": val.accuracy,
            "test": test.accuracy,
            "val_loss": val.loss,
            "test_loss": test.loss,
            **{name: round(value, 2) for name, value in seconds.items()},
            "macs": macs,
            "image_macs": macs * job.num_steps * self.batch_size,
        }

    @property
    def first_line(self) -> str:
        """What the data are, for a person."""
        return RunData(self.data, "retrain", seed=0).first_line()

    @cached_property
    def _sampler(self) -> StepBatchSampler:
        return resumable(self.data.train_dataloader(), 0).sampler

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return self._sampler.global_batch_size

    @property
    def num_steps(self) -> int:
        """Steps of a training, as the config has it."""
        return self.training.num_steps(self._sampler.num_batches)


def ready(data: pl.LightningDataModule) -> Any:
    """A datamodule whose loaders can be read.

    Raises:
        UserError: when its loaders lack something, or its hooks change batches.
    """
    RunData(data, "retrain", seed=0)  # refuses what no run can read
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    for hook in hooks:
        if is_overridden(hook, data):
            raise UserError(
                f"{type(data).__name__} changes batches in {hook}(), which only Lightning calls:"
                " do it in its data set to train networks alone"
            )
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def check_shape(what: str, shape: MnasSpace | NetSpec, data: pl.LightningDataModule) -> None:
    """Refuse networks for images of another shape than the data's.

    Raises:
        UserError: ``what`` and both shapes.
    """
    theirs = shape.classes, shape.resolution, shape.stem_stride
    if theirs != (ours := image_shape(data)):
        raise UserError(
            f"{what} {theirs[0]} classes, {theirs[1]} px and stem stride {theirs[2]}, but the"
            f" config's data have {ours[0]}, {ours[1]} and {ours[2]}: give the config of the"
            " search's data"
        )


def read_space_for(path: Path, data: pl.LightningDataModule) -> MnasSpace:
    """The space of a file, at the classes, resolution and stem stride of the data."""
    classes, resolution, stride = image_shape(data)
    return dataclasses.replace(
        read_space(path), classes=classes, resolution=resolution, stem_stride=stride
    )


def identity(training: TrainingConfig, job: Job) -> Row:
    """What identifies a training: settings, network and seed."""
    recipe = training.recipe.as_values()
    config = {"data": plain_data(training), "recipe": recipe, "steps": job.num_steps}
    return {"config": short_hash(config), "network": network_hash(job.spec), "seed": job.seed}


def plain_data(training: TrainingConfig) -> Row:
    """The data's settings, without those that change no result."""
    data = json.loads(json.dumps(training.data, default=str))
    arguments = data.setdefault("init_args", {})
    arguments.pop("num_workers", None)
    if training.digest:
        for name in pkgutil.resolve_name(data["class_path"]).may_change:
            arguments.pop(name, None)
        arguments["digest"] = training.digest
    for name, value in UNCHANGED.items():
        if arguments.get(name) == value:
            del arguments[name]
    # Under its first name, so that what was trained before a class moved is still found.
    first = {new: old for old, new in RENAMED.items()}
    data["class_path"] = first.get(data["class_path"], data["class_path"])
    return data


def network_hash(spec: NetSpec) -> str:
    """A short name of a network, whatever space it was drawn from."""
    return short_hash(json.loads(spec.to_json()))


class Trainings(CachedJobs[Job]):
    """Trainings by one config, done or found in the cache."""

    def __init__(
        self, training: TrainingConfig, path: Path, processes: int, cluster: str = ""
    ) -> None:
        """Read the cache ``path``; do as many trainings at a time as there are ``processes``.

        ``cluster`` is a Dask scheduler whose workers do them in place of processes.
        """
        super().__init__(
            "trainings",
            path,
            ("config", "network", "seed"),
            partial(identity, training),
            Workers(partial(TrainingRunner, training), processes, cluster),
            status=lambda row: f"val {row['val']:.1%}",
        )


def jobs_of(specs: Sequence[NetSpec], seeds: Iterable[int], num_steps: int) -> list[Job]:
    """All networks with the first seed, then all with the next."""
    return [Job(spec, seed, num_steps) for seed, spec in product(seeds, specs)]
