"""Options of the commands that train networks alone: by what, of which data, and how long."""

import argparse
import dataclasses
from pathlib import Path

from supernet.command.arguments import config_path
from supernet.command.trust import add_trust
from supernet.data.records import data_digest, given_records
from supernet.training.config import TrainingConfig, read_training


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``training_of`` reads, the supernets, and how trainings are run."""
    add = parser.add_argument
    add(
        "-c",
        "--config",
        type=config_path,
        required=True,
        help="config of a retraining: data, recipe, length",
    )
    add(
        "--data.root",
        dest="root",
        type=Path,
        metavar="DIR",
        help="folder of the images, for an ImageFolder",
    )
    add(
        "--supernet",
        type=Path,
        nargs="+",
        default=[],
        metavar="CKPT",
        help="checkpoints of searches",
    )
    add("--steps", type=int, help="steps of a training, instead of the config's")
    add("--processes", type=int, default=1, help="trainings at a time, of one thread each (1)")
    add("--cluster", default="", metavar="ADDRESS", help="Dask scheduler whose workers train")
    add(
        "--cache",
        type=Path,
        default=Path("runs/standalone.jsonl"),
        help="file of finished trainings",
    )
    add_trust(parser)


def training_of(options: argparse.Namespace) -> TrainingConfig:
    """The training that the options name, and which images it is of, wherever these lie.

    Raises:
        UserError: one line that names the config and what is wrong in it, or images that cannot be
            read.
    """
    training = read_training(options.config, options.trust, options.root)
    data = training.make_data()
    records = given_records(data) if getattr(data, "may_change", ()) else None
    return dataclasses.replace(training, digest=data_digest(records)) if records else training
