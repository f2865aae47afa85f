"""What a search was after and how, from the yaml file that configures it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields
from pathlib import Path

from search.controllers.settings import ControllerSettings
from search.module import SearchModule
from search.objective.reward import Reward
from search.objective.targets import Requested
from search.settings import Final, Sampling
from supernet.errors import UserError
from supernet.files.reading import read_yaml
from supernet.training.config import read_section


@dataclass(frozen=True)
class SearchFile:
    """The settings of a search that matter once its weights are trained."""

    target: Requested = "p40"
    """Upper limit of the cost, or several, as ``SearchModule`` takes them."""
    cost: str = "ms"
    """What is limited: ms, macs or params."""
    table: str | None = None
    """A latency table to use instead of measuring this machine."""
    table_cache: str = "runs/tables"
    reward: Reward = field(default_factory=Reward)
    sampling: Sampling = field(default_factory=Sampling)
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    final: Final = field(default_factory=Final)


def read_search(path: str | Path) -> SearchFile:
    """Read the section ``model`` of a search's yaml, such as config.yaml in its run folder.

    Raises:
        UserError: one line that names the file and what is wrong in it.
    """
    config = read_yaml(
        path, "name the search's settings by --search, such as configs/clutter/search.yaml"
    )
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):
        raise UserError(f"{path} has no section model: name the yaml file of a search")
    known = inspect.signature(SearchModule).parameters
    unknown = next((name for name in model if name not in known), None)
    if unknown is not None:
        raise UserError(f"{path}: no search has model.{unknown}: name the yaml file of a search")
    if model.get("constraints"):
        raise UserError(
            f"{path}: contests know no constraints: name a copy of it without model.constraints"
        )
    own = {one.name for one in fields(SearchFile)}
    section = {name: value for name, value in model.items() if name in own}
    return read_section(SearchFile, "model", section, str(path))
