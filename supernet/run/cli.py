"""The command line that search and retrain share: LightningCLI plus run folders.

A command owns a folder (``--run``). It refuses to start over a run, continues one with
``--ckpt_path last``, and keeps config.yaml, checkpoints/ and metrics.csv there.
"""

import contextlib
import functools
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from docstring_parser import DocstringStyle
from jsonargparse import Namespace, set_parsing_settings
from jsonargparse.typing import NonNegativeFloat
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from supernet.command.early import with_shipped
from supernet.command.output import say
from supernet.command.parser_errors import not_made
from supernet.command.process import is_first_process, quieten_lightning
from supernet.command.trust import TRUST_HELP, check_command_line
from supernet.data.datamodule import image_shape
from supernet.data.run_data import RunData
from supernet.errors import UserError, one_line
from supernet.files.locking import locked
from supernet.files.writing import write_atomic
from supernet.report.report import report_after
from supernet.run.callbacks import RunFiles, RunProgress, SeedEachStep
from supernet.run.checkpoints import LastCheckpoint, explain_restoring
from supernet.run.data_check import DataCheck
from supernet.run.dry_pass import DryPass, DryRunDoneError
from supernet.run.finite import FiniteGuard, OnNonfinite
from supernet.run.folder import check_checkpoint, make_folder, starting_point
from supernet.run.options import (
    MatmulPrecision,
    SameOptions,
    check_trainer,
    check_trainer_options,
    data_options,
    expanded,
    set_matmul_precision,
)
from supernet.run.parser import RunParser, Seed, Threads
from supernet.run.ranks import Ranks
from supernet.tracking.logger import Wandb, finish, folder_of_run, wandb_logger
from supernet.tracking.metrics import MetricsCsv, wandb_runs
from supernet.tracking.record import ConfigRecord, log_report
from supernet.training.config import check_resolution, check_sections, make_data


def check_text(words: Sequence[str]) -> None:
    """Refuse names of bytes that are no UTF-8, which config.yaml and W&B cannot hold.

    Raises:
        UserError: naming the first word.
    """
    for word in words:
        if not word.isascii() and word != word.encode(errors="replace").decode():
            raise UserError(f"{word} is no UTF-8: rename the file or folder, or link to it")


def num_classes(data: pl.LightningDataModule) -> int:
    """Number of classes of the data."""
    return image_shape(data)[0]


def resolution(data: pl.LightningDataModule) -> int:
    """Side of the data's images, in pixels."""
    return image_shape(data)[1]


def stem_stride(data: pl.LightningDataModule) -> int:
    """Stride of the first convolution that suits the data."""
    return image_shape(data)[2]


# Named functions, since --help prints them as what a model's argument is linked to.
SHAPE = {"num_classes": num_classes, "resolution": resolution, "stem_stride": stem_stride}

TOLD = re.compile(r"-h$|--help|--.*\.help|--print_config=")
"""Words that ask for what options mean."""
LR_OPTIONS = {"search": "model.weights.lr", "retrain": "model.recipe.lr"}
"""Options of the learning rate, by role."""


class CLI(LightningCLI):
    """``fit`` (and what else ``subcommands`` names) of one module, in a run folder."""

    def __init__(
        self,
        model_class: type[pl.LightningModule],
        role: Literal["search", "retrain"],
        callbacks: Callable[[Path], Sequence[pl.Callback]],
        verbs: Sequence[str] = ("fit",),
        args: ArgsType = None,
        name: str = "",
        more: str = "",
    ) -> None:
        """Parse and run the command line, by default the process's.

        The parameters of the model are the section ``model`` of a config, the role says on which
        splits it trains, ``callbacks`` makes the run's for its folder, ``verbs`` are methods of the
        Trainer, ``name`` is what ``python -m`` runs, by default the role, and ``more`` is what its
        help says of commands beside these.

        Raises:
            UserError: for what cannot be, in one line.
        """
        self.name, self.role, self.verbs, self.run_callbacks = name or role, role, verbs, callbacks
        self.ranks = Ranks()
        if args is None or isinstance(args, list):
            args = with_shipped(sys.argv[1:] if args is None else args)
        self.words = args if isinstance(args, list) else []
        quieten_lightning()
        # The help of options: read from the sources of their classes, which takes a second, and in
        # each style that libraries have.
        is_told = any(TOLD.match(word) for word in self.words)
        style = DocstringStyle.AUTO if is_told else DocstringStyle.GOOGLE
        set_parsing_settings(
            docstring_parse_style=style, docstring_parse_attribute_docstrings=is_told
        )
        check_command_line(self.words)
        check_text(self.words)
        help_of = {"prog": f"python -m {self.name}", "description": model_class.__doc__}
        help_of["epilog"] = more
        with contextlib.ExitStack() as self.until_end:
            self.until_end.callback(self.ranks.end)
            try:
                super().__init__(
                    model_class,
                    pl.LightningDataModule,
                    save_config_callback=None,
                    parser_class=RunParser,
                    parser_kwargs=help_of,
                    subclass_mode_data=True,
                    args=args,
                    trainer_defaults={"enable_model_summary": False},
                    auto_configure_optimizers=False,
                    load_from_checkpoint_support=False,
                )
            except DryRunDoneError:
                pass
            except MisconfigurationException as error:  # what Lightning says of a trainer's options
                raise UserError(one_line(error)) from None
            except Exception as error:
                self.ranks.explain(error)
                explain_restoring(error)
                raise
            self.ranks.end(patience_s=60.0)

    def after_fit(self) -> None:
        """Write the report of the run, on one process."""
        if self.trainer.is_global_zero:
            report_after(self.folder, say)
            for run in wandb_runs(self.trainer):
                log_report(run, self.folder)

    after_test = after_fit

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the verbs that this command has, or the one that is asked for: each takes time."""
        verbs = {*self.verbs} & {*self.words[:1]} or self.verbs
        return {verb: skip for verb, skip in super().subcommands().items() if verb in verbs}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Take numbers only: Lightning's ``true`` draws a seed that no second rank knows."""
        parser.add_argument("--seed_everything", type=Seed, default=0, help="Fixes every draw.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder and tracking, and link what the data say into the model."""
        parser.add_argument("--run", type=str, required=True, help="Folder of this run.")
        parser.add_argument("--trust", action="append", default=[], help=TRUST_HELP)
        parser.add_argument("--wandb", type=Wandb, default=Wandb())
        lost = "Seconds between checkpoints: what a kill can lose at most."
        parser.add_argument("--checkpoint_every_s", type=NonNegativeFloat, default=30.0, help=lost)
        threads = "CPU threads of each process; 0 leaves the choice to torch."
        parser.add_argument("--threads", type=Threads, default=0, help=threads)
        full = "On GPUs: highest is float32 in full, high and medium compute in TF32."
        parser.add_argument(
            "--float32_matmul_precision", type=MatmulPrecision, default="high", help=full
        )
        nonfinite = (
            "What a loss, gradient or image that is not finite does: end the run or its step."
        )
        parser.add_argument("--on_nonfinite", type=OnNonfinite, default="stop", help=nonfinite)
        dry = "Only try one weight step, update, judged network and checkpoint; leaves no file."
        parser.add_argument("--dry_run", type=bool, nargs="?", const=True, default=False, help=dry)
        for name, offered in SHAPE.items():
            parser.link_arguments("data", f"model.{name}", offered, apply_on="instantiate")

    @property
    def settings(self) -> Namespace:
        """The parsed configuration of the verb."""
        return self.config[str(self.subcommand)]

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.settings.run)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line and its files.

        Raises:
            UserError: for what the parser itself stumbles over.
        """
        try:
            with warnings.catch_warnings():
                # A command may stand for a longer line than the process's.
                warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
                super().parse_arguments(parser, args)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - jsonargparse hands on what a setting raises
            raise UserError(f"the settings cannot be read: {one_line(error)}") from None

    def before_instantiate_classes(self) -> None:
        """Settle where the run starts before anything long begins.

        Raises:
            UserError: when there is nothing to continue, or something to start over.
        """
        config = expanded(self.settings)
        check_sections(config, self.model_class)
        files = [Path(str(file)) for file in config.get("config") or []]
        check_resolution(config.data, files, self.words)
        if not config.run.strip():
            raise UserError("--run is empty: name a folder for this run, such as runs/NAME")
        config.run = folder_of_run(config.run)
        check_trainer_options(config.trainer)
        self.seed = int(config.seed_everything)
        config.trainer.default_root_dir = str(self.folder)
        # Ours shard and shuffle: Lightning's would replay an epoch's data on a resume.
        config.trainer.use_distributed_sampler = False
        config.trainer.enable_checkpointing = True
        if config.threads:
            torch.set_num_threads(config.threads)
            # Without this, Lightning's strategies of several processes set their own number.
            os.environ["OMP_NUM_THREADS"] = str(config.threads)
        set_matmul_precision(config.float32_matmul_precision)
        if config.dry_run:
            self._settle_dry_run()
            return
        self._lock()
        if self.subcommand == "fit":
            config.ckpt_path = starting_point(self.folder, config.get("ckpt_path"))
            make_folder(self.folder)
            self._lock()
            if config.ckpt_path is None and is_first_process():
                write_atomic(self.folder / "config.yaml", self._config_text.encode())

    def _settle_dry_run(self) -> None:
        """Start where the run would, with a folder of its own that does not stay."""
        config = self.settings
        if self.subcommand != "fit":
            raise UserError("--dry_run tries a fit: leave it out")
        config.ckpt_path = starting_point(self.folder, config.get("ckpt_path"))
        config.run = self.until_end.enter_context(TemporaryDirectory(prefix="dry-run-"))
        config.trainer.default_root_dir = config.run
        config.trainer.logger, config.wandb.mode = False, "disabled"

    def _lock(self) -> None:
        """Let no other command write into the folder, if it is there, until this one ends."""
        if is_first_process():
            self.until_end.enter_context(locked(self.folder))

    def _parse_ckpt_path(self) -> None:
        """Take no settings from a checkpoint: the command line's are the run's."""

    @functools.cached_property
    def _config_text(self) -> str:
        """The settled settings, as config.yaml holds them."""
        config = self.settings.clone()
        for name in ("ckpt_path", "trust", "dry_run"):  # said anew on each command line
            config.pop(name, None)
        return self._parser_of_verb.dump(config, skip_none=True, skip_validation=True)

    @property
    def _parser_of_verb(self) -> LightningArgumentParser:
        return self._subcommand_parsers[str(self.subcommand)]

    def kept_options(self) -> dict[str, Any]:
        """Options that a run must keep, besides its trainer's."""
        # As JSON, in which objects are named and None is told from what is not there.
        text = self._parser_of_verb.dump(
            Namespace(data=self.settings.data), "json", skip_none=False, skip_validation=True
        )
        precision = {"float32_matmul_precision": self.settings.float32_matmul_precision}
        return {**data_options(json.loads(text)["data"], self.datamodule), **precision}

    def instantiate_classes(self) -> None:
        """Wrap the data, so that loaders can be resumed and sharded.

        Raises:
            UserError: when data, model, trainer or checkpoint are refused.
        """
        if self.settings.get("ckpt_path"):
            check_checkpoint(self.settings.ckpt_path)
        try:
            super().instantiate_classes()
        except ValueError as error:
            if not isinstance(error, UserError):
                # Made again, since jsonargparse buries its UserError in a page of its own.
                make_data(self.settings.data.as_dict(), "data")
                if line := not_made(str(error)):
                    raise UserError(line) from None
            raise
        self.datamodule = RunData(self.datamodule, role=self.role, seed=self.seed)
        self._data_check.prepare(self.datamodule, str(self.subcommand))

    def make_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer of the config, with options that are the run's."""
        return super().instantiate_trainer(**kwargs)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add the run's loggers and callbacks to those of the config."""
        trainer_config = self._get(self.config_init, "trainer")
        given = trainer_config.logger
        loggers: list[Logger] = [MetricsCsv(self.folder)]
        wandb = self._get(self.config_init, "wandb")
        if given is not False and wandb.mode != "disabled":
            tracked = wandb_logger(self.folder, wandb, self.role)
            self.until_end.push(lambda failure, *_: finish(tracked, failure is not None))
            loggers.append(tracked)
        extra = given if isinstance(given, list) else [given]
        loggers += [one for one in extra if isinstance(one, Logger)]
        progress = [] if trainer_config.enable_progress_bar is False else [RunProgress(self.name)]
        kwargs["enable_progress_bar"] = False  # Lightning's own
        checkpoint = self.settings.get("ckpt_path")
        self._data_check = DataCheck(self.folder, Path(checkpoint) if checkpoint else None)
        own, config = trainer_config.callbacks or [], self._config_text
        of_run = list(self.run_callbacks(self.folder))
        dry_passes = [one for one in of_run if isinstance(one, DryPass)]
        for one in dry_passes:
            one.is_all = self.settings.dry_run
        kwargs["callbacks"] = [
            *(own if isinstance(own, list) else [own]),
            FiniteGuard(self.settings.on_nonfinite, LR_OPTIONS[self.role]),
            SameOptions(self.kept_options()),
            *dry_passes,
            *progress,
            SeedEachStep(self.seed),
            self._data_check,
            RunFiles(self.folder, config),
            ConfigRecord(config),
            *(one for one in of_run if one not in dry_passes),
            # The last of all, since it ends a run that has been asked to stop.
            LastCheckpoint(self.folder, self.settings.checkpoint_every_s),
        ]
        try:
            trainer = self.make_trainer(logger=loggers, **kwargs)
        except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
            given = [f"{name} {trainer_config[name]}" for name in ("accelerator", "devices")]
            raise UserError(
                f"trainer with {', '.join(given)}: {one_line(error)} Give other options, such"
                " as --trainer.accelerator cpu"
            ) from None
        metrics: tuple[str, ...] = getattr(self.model, "metrics", ())
        check_trainer(trainer, trainer_config.precision, metrics)
        self.ranks.watch(trainer)
        return trainer
