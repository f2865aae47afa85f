"""The networks that a search's controller proposes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from search.controller import Controller
from search.controllers import ControllerSettings
from search.evolution import Evolution
from search.rank_networks import DRAWS, Candidate, Drawing
from supernet.arch import Arch
from supernet.errors import UserError
from supernet.space import MnasSpace
from supernet.target import CostModel

ARCHIVE = re.compile(r"^(archives\.0|populations\.0\.archive)\.rewards$")
BATCH = 100
"""Architectures proposed at a time."""


def load_controller(checkpoint: Path, space: MnasSpace) -> Controller:
    """The controller of a search, as far as it had learnt.

    Args:
        checkpoint: of the search.
        space: of the search.

    Raises:
        UserError: when the file holds none.
    """
    held = torch.load(checkpoint, map_location="cpu", weights_only=True)
    own = {
        name.removeprefix("controller."): value
        for name, value in held["state_dict"].items()
        if name.startswith("controller.")
    }
    try:
        controller = _fresh(held["search"], space, own)
        controller.load_state_dict(own)
    except (KeyError, RuntimeError):
        raise UserError(
            f"{checkpoint} holds no controller of this version to draw --policy networks from: give"
            " the last.ckpt of a search, or leave --policy out"
        ) from None
    return controller


def _fresh(search: dict[str, Any], space: MnasSpace, state: dict[str, Any]) -> Controller:
    """One of the same shape as ``state``, for as many targets.

    What else it is set to plays a part in learning only, but for the size of tournaments, which is
    the default.
    """
    targets = len(search["target"]) if isinstance(search["target"], list) else 1
    archive = next((one for name, one in state.items() if ARCHIVE.search(name)), [0])
    population = len(state.get("populations.0.rewards", [0]))
    settings = ControllerSettings(search["controller"], evolution=Evolution(population))
    return settings.build(space.decision_sizes, targets, len(archive), targets)


def draw_policy(
    controller: Controller, space: MnasSpace, model: CostModel, num: int, seed: int
) -> Drawing:
    """Distinct networks in the order in which a controller proposes them, all in one band.

    Args:
        controller: what proposes.
        space: what it proposes from.
        model: what prices a network.
        num: how many.
        seed: of the proposals.

    Raises:
        UserError: when it proposes too few that differ.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[Arch, Candidate] = {}
    for _ in range(DRAWS * num // BATCH + 1):
        for row in controller.propose(BATCH, generator).indices.tolist():
            arch = space.canonical(space.decode(row))
            spec = space.spec(arch)
            found.setdefault(arch, Candidate(arch, spec, model.predict(spec), 0))
        if len(found) >= num:
            candidates = list(found.values())[:num]
            costs = [one.cost for one in candidates]
            return Drawing(candidates, [min(costs), max(costs)])
    raise UserError(
        f"--policy is {num}, but the controller proposes only {len(found)} networks that differ:"
        " ask for fewer"
    )
