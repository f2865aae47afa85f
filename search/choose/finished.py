"""FinishedSearch: what a search by tunings has left in its folder, to be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.settings import Lengths
from search.surrogate.rounds import Origin
from search.surrogate.tunings import Code
from supernet.errors import UserError
from supernet.files.json_text import parse_json
from supernet.files.reading import parse_yaml, read_text
from supernet.run.folder import CONTINUE, last_checkpoint


@dataclass(frozen=True)
class Known:
    """A network that the search has learned from."""

    code: Code
    round: int
    origin: Origin


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search with score ``tuned``."""

    folder: Path
    lengths: Lengths
    """Steps of its tunings."""
    labels: tuple[Known, ...]
    finalists: tuple[Code, ...]

    @staticmethod
    def read(folder: Path) -> FinishedSearch:
        """What a run folder holds.

        Raises:
            UserError: when it is not that of a finished search by tunings.
        """
        path, last = folder / "surrogate.json", last_checkpoint(folder)
        _check_score(folder)
        if not path.exists() or not last.exists():
            missing = next(one for one in (path, last) if not one.exists())
            raise UserError(
                f"{folder} holds no finished search, as {missing} is missing: go on with the"
                f" search's own command and {CONTINUE}, or name another --run"
            )
        text = read_text(path, "name the folder of a finished search")
        try:
            return _finished(folder, parse_json(text.encode()))
        except (UserError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} is broken: it must hold label_steps, final_steps, labels and finalists; go"
                f" on with the search's own command and {CONTINUE}, which writes it again"
            ) from None

    @property
    def config(self) -> Path:
        """The settings that it was run with."""
        return self.folder / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """Its shared weights."""
        return last_checkpoint(self.folder)


def _finished(folder: Path, fields: dict[str, Any]) -> FinishedSearch:
    return FinishedSearch(
        folder,
        Lengths(int(fields["label_steps"]), int(fields["final_steps"])),
        tuple(
            Known(
                _code(one),
                int(one["round"]),
                "uniform" if one["origin"] == "uniform" else "proposed",
            )
            for one in fields["labels"]
        ),
        tuple(dict.fromkeys(map(_code, fields["finalists"]))),
    )


def _code(fields: dict[str, Any]) -> Code:
    return tuple(map(int, fields["arch"]))


def _check_score(folder: Path) -> None:
    """Refuse what is no search, and one by slices, which has no surrogate."""
    config = folder / "config.yaml"
    content = parse_yaml(read_text(config, "name the folder of a finished search by --run"))
    try:
        score = content["model"]["sampling"]["score"]
    except (KeyError, TypeError):
        raise UserError(
            f"{config} is not of a search: name the folder of a finished search by --run"
        ) from None
    if score != "tuned":
        raise UserError(
            f"{folder} was searched by slices' scores (model.sampling.score {score}), which leave"
            " no surrogate to ask: search with --model.sampling.score tuned, or for several"
            " --model.target at once"
        )
