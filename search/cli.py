"""The command line of a search: its callbacks, and the commands that follow it."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy

from search.callbacks import StepLog, UniformCheckpoint
from search.checks import note_reference
from search.dry_pass import SearchDryPass
from search.gradients.strategy import REPLACED, SearchStrategy
from search.monitoring.compute import Spending
from search.monitoring.health import Health
from search.selection.bn_probe import BatchNormProbe
from search.selection.results import Results
from supernet.command.output import say
from supernet.files.reading import read_yaml
from supernet.files.shipped import shipped_configs
from supernet.files.writing import write_atomic
from supernet.report.search_sections import NEXT_STEP
from supernet.run.cli import CLI

UNKNOWN = "RETRAIN.yaml"
"""In place of a config that does not lie beside the search's."""
SHARED = {"data", "trust", "wandb", "threads", "seed_everything"}
"""Sections of a config that mean the same in a retraining."""


def search_callbacks(folder: Path) -> list[pl.Callback]:
    """The callbacks of a search in a run folder."""
    health = Health()
    spending = Spending(lambda: health.image_macs)
    return [
        SearchDryPass(folder),
        StepLog(folder),
        health,
        spending,
        BatchNormProbe(),
        # After Health, which has counted the step by then.
        UniformCheckpoint(folder),
        Results(folder, spending),
    ]


class SearchCLI(CLI):
    """The shared command line, which ends a search with what to do next."""

    def make_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer of the config, whose gradients the search itself averages over devices."""
        # A trainer adds callbacks of its own to the list that it is given.
        callbacks = [*kwargs["callbacks"]]
        trainer = super().make_trainer(**kwargs)
        # Lightning alone knows how many devices ``auto`` finds.
        named = self.settings.trainer.strategy in REPLACED
        if named and type(trainer.strategy) is DDPStrategy:
            more = {"callbacks": callbacks, "strategy": SearchStrategy()}
            trainer = super().make_trainer(**kwargs | more)
        return trainer

    def instantiate_classes(self) -> None:
        """Say so where an option changes nothing."""
        super().instantiate_classes()
        note_reference(self.model.space, self.words)

    def kept_options(self) -> dict[str, Any]:
        """Whether gradients are rounded on their way, too."""
        rounds = self.settings.model.compress_gradients
        return {**super().kept_options(), "model.compress_gradients": rounds}

    def after_fit(self) -> None:
        """Keep the next commands, write the report, and say the first, on one process."""
        lines: list[str] = []
        if self.trainer.is_global_zero:
            configs = [Path(str(file)) for file in self.settings.get("config") or []]
            archs = sorted(self.folder.glob("arch*.json"))
            lines = next_steps(self.folder, archs, configs, self.words)
            write_atomic(self.folder / NEXT_STEP, "".join(f"{one}\n" for one in lines).encode())
        super().after_fit()
        for line in lines[:1]:
            say(f"next: {line}")
        if len(lines) > 1:
            say(f"and so on for {len(lines) - 1} more: {self.folder / NEXT_STEP}")


def next_steps(
    run: Path, archs: Sequence[Path], configs: Sequence[Path], words: Sequence[str]
) -> list[str]:
    """The command that trains each found network on the images of its search.

    Args:
        run: folder of the search.
        archs: files of the networks.
        configs: of the search; of each that is named for a search, the one beside it that is named
            for a retraining is taken, and those of data alone are taken as they are.
        words: of the search's command line, of which those about data are taken.
    """
    found = [one for path in configs for one in _of_retraining(path)] or [Path(UNKNOWN)]
    note = f"  # {UNKNOWN}: the config of a retraining" if Path(UNKNOWN) in found else ""
    names = {path: name for name, path in shipped_configs().items()}
    options = [word for path in found for word in ("-c", names.get(path, str(path)))]
    lines = []
    for path in archs:
        folder = _folder_of(run, path.stem.removeprefix("arch"))
        own = ["--run", str(folder), "--model.arch", str(path), *_of_data(words)]
        lines.append(shlex.join(["mnasnet", "retrain", *options, *own]) + note)
    return lines


def _of_retraining(path: Path) -> Iterator[Path]:
    """What a retraining takes in place of a config of the search."""
    beside = path.with_name(path.name.replace("search", "retrain"))
    if beside != path and beside.is_file():
        yield beside
    elif read_yaml(path, "it was read when the search began").keys() <= SHARED:
        yield path


def _folder_of(run: Path, target: str) -> Path:
    """A folder beside that of the search, for the network of a target."""
    renamed = run.name.replace("search", "retrain")
    return run.with_name((renamed if renamed != run.name else f"{run.name}-retrain") + target)


def _of_data(words: Sequence[str]) -> Iterator[str]:
    """Options about data, with their values."""
    taken = False
    for word in words:
        is_option = word.startswith("-") and not taken
        starts = word.startswith(("--data", "--trust")) and is_option
        if starts or taken:
            yield word
        taken = starts and "=" not in word
