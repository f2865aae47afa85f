"""Trainings of an experiment that are whole runs of ``mnasnet retrain``, which takes GPUs."""

import json
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from search.evaluation.jobs import CachedJobs, Row, commit, short_hash
from search.evaluation.run_jobs import RunCommands, Runs
from search.evaluation.trainings import network_hash
from supernet.arch_file import ArchFile, write_arch
from supernet.cost.counts import count
from supernet.files.reading import read_yaml
from supernet.files.shipped import config_file
from supernet.space.arch import Arch, BlockChoice, Restriction
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage

V = TypeVar("V")


@dataclass(frozen=True)
class Retraining:
    """A network to retrain with a seed."""

    spec: NetSpec
    seed: int
    published: str = ""
    """Its published name, if it has one; its activation may be none that a space has."""


def retrainings(training: str, path: Path, options: Namespace) -> CachedJobs[Retraining]:
    """Retrainings by a config, done or found in a cache; their runs lie in a folder beside it."""
    commands, result = partial(_commands, training, path, options), partial(_result, training)
    runs, keys = Runs(commands, result, options.processes), ("config", "network", "seed")
    return CachedJobs("trainings", path, keys, partial(_identity, training), runs)


def _identity(training: str, job: Retraining) -> Row:
    config = read_yaml(config_file(training), "name the config of a retraining")
    return {
        "config": short_hash(json.loads(json.dumps(config, default=str))),
        "network": network_hash(job.spec),
        "seed": job.seed,
    }


def _commands(training: str, path: Path, options: Namespace, job: Retraining) -> RunCommands:
    """A retraining, which goes on where it was stopped, and its test."""
    folder = path.with_suffix("") / f"{network_hash(job.spec)}-{job.seed}"
    arch = job.published or str(folder.with_suffix(".json"))
    if not job.published:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_arch(Path(arch), only_network(job.spec))
    words = ["-c", str(config_file(training)), "--run", str(folder), "--model.arch", arch]
    words += [f"--data.resolution={job.spec.resolution}", "--wandb.mode=disabled"]
    if options.root:
        words += ["--data.root", str(options.root)]
    fit = ["retrain", "fit", *words, "--ckpt_path", "auto", "--seed_everything", str(job.seed)]
    return RunCommands(folder, [fit, ["retrain", "test", *words]])


def _result(training: str, job: Retraining, folder: Path) -> Row:
    """The row that the cache keeps of a retraining whose test has ended."""
    told = json.loads((folder / "test.json").read_bytes())
    return {
        **_identity(training, job),
        "commit": commit(),
        "blocks": job.spec.block_strings(),
        "test": told["accuracy"],
        "test_loss": told["loss"],
        "macs": count(job.spec).macs,
    }


def only_network(spec: NetSpec) -> ArchFile:
    """A network as the one architecture of a space that holds no other.

    Raises:
        UserError: when no space holds it.

    Examples:
        >>> from supernet.space.published import published_spec
        >>> spec = published_spec("mnasnet_b1")
        >>> only_network(spec).spec.block_strings() == spec.block_strings()
        True
    """
    blocks = [_choice(stage) for stage in spec.stages]
    space = MnasSpace(
        ops=_values(block.op for block in blocks),
        kernels=_values(block.kernel for block in blocks),
        ses=_values(block.se for block in blocks),
        skips=_values(block.skip for block in blocks),
        filters=(1.0,),
        layers=(0,),
        restrictions=tuple(
            Restriction(
                number,
                ops=(block.op,),
                kernels=(block.kernel,),
                ses=(block.se,),
                skips=(block.skip,),
            )
            for number, block in enumerate(blocks, 1)
        ),
        base_filters=tuple(stage.filters for stage in spec.stages),
        base_layers=tuple(stage.repeats for stage in spec.stages),
        strides=tuple(stage.stride for stage in spec.stages),
        divisor=1,
        stem=spec.stem,
        stem_stride=spec.stem_stride,
        head=spec.head,
        resolution=spec.resolution,
        classes=spec.classes,
    )
    macs = float(count(spec).macs)
    return ArchFile(space, Arch(tuple(blocks)), macs, "macs", "", "", 0.0, 0.0, macs, 0, 0)


def _choice(stage: Stage) -> BlockChoice:
    op = f"mbconv{stage.expand}" if stage.op == "mbconv" else stage.op
    return BlockChoice(op, stage.kernel, stage.se, stage.skip, 1.0, 0)


def _values(chosen: Iterable[V]) -> tuple[V, ...]:
    """Each value once."""
    return tuple(dict.fromkeys(chosen))
