"""Calls of a command from Python: what a caller gives, as the words of its command line."""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from supernet.errors import UserError

Data = str | Path | type[pl.LightningDataModule] | pl.LightningDataModule
"""A folder of images, a datamodule's class, or a datamodule that knows its arguments."""
Settings = Mapping[str, object]
"""Values by the names of options, such as ``{"trainer.max_steps": 600}``."""
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Kinds of arguments that a constructor has by name."""


def run_words(
    config: str | Path | None, run: str | Path, data: Data, settings: Settings
) -> list[str]:
    """Options that a run's commands share, without their verb.

    Args:
        config: a yaml file, the name of a shipped one, or None for none.
        run: the folder.
        data: whose class and arguments the run keeps.
        settings: all others, which win over the config.

    Raises:
        UserError: for a datamodule that does not know its arguments.
    """
    words = [] if config is None else ["--config", str(config)]
    words += ["--run", str(run), *data_words(data)]
    return [*words, *(_word(name, value) for name, value in settings.items())]


def fit_words(words: list[str]) -> list[str]:
    """Words of ``fit`` with these options, which goes on with a run that is there."""
    return ["fit", "--ckpt_path", "auto", *words]


def data_words(data: Data) -> list[str]:
    """Options that name data to a command.

    Raises:
        UserError: for a datamodule that does not know its arguments.
    """
    if isinstance(data, str | Path):
        return ["--data", "ImageFolder", _word("data.root", str(data))]
    kind = data if isinstance(data, type) else type(data)
    arguments = {} if isinstance(data, type) else dict(_arguments(data))
    given = [_word(f"data.{name}", value) for name, value in arguments.items()]
    return ["--data", f"{kind.__module__}.{kind.__qualname__}", *given]


def _arguments(data: pl.LightningDataModule) -> Iterator[tuple[str, Any]]:
    """Arguments that a datamodule was made with, which the run must be able to make it with."""
    if data.hparams:
        yield from data.hparams.items()
    elif any(one.kind in NAMED for one in inspect.signature(type(data)).parameters.values()):
        name = type(data).__name__
        raise UserError(
            f"{name} does not tell the arguments it was made with: call self.save_hyperparameters()"
            f" in its constructor, or give the class {name} and its arguments as settings"
            ' {"data.NAME": value}'
        )


def _word(name: str, value: object) -> str:
    text = str(value) if isinstance(value, str | Path) else json.dumps(value)
    return f"--{name}={text}"
