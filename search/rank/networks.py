"""The networks that are ranked: uniform ones over a range of costs, and a controller's own."""

import re
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search.controllers.controller import Controller
from search.controllers.evolution import Evolution
from search.controllers.settings import ControllerSettings
from search.objective.costs import quantile
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.network.checkpoint import load_checkpoint
from supernet.network.functional import submodule_weights
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

TAIL = 0.05
"""Share of the space's networks beyond the bands at either end."""
DRAWS_PER_PLACE = 2000
"""Architectures to look at for each network before a band counts as empty."""
ARCHIVE = re.compile(r"^(archives\.0|populations\.0\.archive)\.rewards$")
"""The buffer of a checkpoint that is as long as a controller's archive."""
AT_ONCE = 100
"""Architectures that a controller proposes at a time."""


@dataclass(frozen=True)
class BandNetwork:
    """A network to be ranked."""

    arch: Arch
    """Canonical."""
    spec: NetSpec
    cost: float
    """Predicted, in the cost model's unit."""
    band: int
    """Number of its band, from 0, the cheapest."""


@dataclass(frozen=True)
class NetworkGroup:
    """Networks to be ranked among each other, and their bands of cost."""

    networks: list[BandNetwork]
    edges: list[float]
    """Costs between which the bands lie, one more than there are bands."""


def uniform_group(
    space: MnasSpace, model: CostModel, num: int, num_bands: int, seed: int
) -> NetworkGroup:
    """Distinct networks, uniform but for the cost: as many from each band.

    The bands are equally wide and lie between the 5 % and the 95 % quantile of the costs of uniform
    architectures, whatever the seed. A larger group begins with the networks of a smaller one: the
    bands take turns.

    Raises:
        UserError: when a band has too few networks.
    """
    low, high = (quantile(model, space, q) for q in (TAIL, 1 - TAIL))
    edges = np.linspace(low, high, num_bands + 1).tolist()
    wanted = [len(range(band, num, num_bands)) for band in range(num_bands)]
    found: list[list[BandNetwork]] = [[] for _ in range(num_bands)]
    for arch, spec in space.distinct(islice(space.samples(seed), DRAWS_PER_PLACE * num)):
        cost = model.predict(spec)
        band = int(np.searchsorted(edges, cost, side="right")) - 1
        if 0 <= band < num_bands and len(found[band]) < wanted[band]:
            found[band].append(BandNetwork(arch, spec, cost, band))
        if all(len(some) == most for some, most in zip(found, wanted, strict=True)):
            turns = zip_longest(*found)
            return NetworkGroup([one for one in chain.from_iterable(turns) if one], edges)
    short = next(band for band in range(num_bands) if len(found[band]) < wanted[band])
    raise UserError(
        f"only {len(found[short])} of {wanted[short]} networks found between {edges[short]:.4g} and"
        f" {edges[short + 1]:.4g} {model.unit}: ask for fewer --networks or --bands"
    )


def load_controller(checkpoint: Path, space: MnasSpace) -> Controller:
    """The controller of a search on a space, as far as it had learnt.

    Raises:
        UserError: when the checkpoint holds none.
    """
    held = load_checkpoint(checkpoint)
    try:
        own = submodule_weights(held["state_dict"], "controller.")
        controller = _fresh(held["search"], space, own)
        controller.load_state_dict(own)
    except (KeyError, RuntimeError, TypeError, AttributeError, UserError):
        raise UserError(
            f"{checkpoint} holds no controller of this version to draw --policy networks from: give"
            " the last.ckpt of a search, or leave --policy out"
        ) from None
    return controller


def _fresh(search: dict[str, Any], space: MnasSpace, state: dict[str, Any]) -> Controller:
    """A controller of the shape of ``state``, for as many targets.

    What else it is set to plays a part in learning only, but for the size of tournaments, which is
    the default.
    """
    targets = len(search["target"]) if isinstance(search["target"], list) else 1
    archive = next((one for name, one in state.items() if ARCHIVE.search(name)), [0])
    population = len(state.get("populations.0.rewards", [0]))
    settings = ControllerSettings(search["controller"], evolution=Evolution(population))
    return settings.build(space.decision_sizes, targets, len(archive), targets)


def policy_group(
    controller: Controller, space: MnasSpace, model: CostModel, num: int, seed: int
) -> NetworkGroup:
    """Distinct networks in the order in which a controller proposes them, all in one band.

    Raises:
        UserError: when it proposes too few that differ.
    """
    generator = torch.Generator().manual_seed(seed)
    proposed = (
        space.decode(row)
        for _ in range(DRAWS_PER_PLACE * num // AT_ONCE + 1)
        for row in controller.propose(AT_ONCE, generator).indices.tolist()
    )
    networks = [
        BandNetwork(arch, spec, model.predict(spec), band=0)
        for arch, spec in islice(space.distinct(proposed), num)
    ]
    if len(networks) < num:
        raise UserError(
            f"--policy is {num}, but the controller proposes only {len(networks)} networks that"
            " differ: ask for fewer"
        )
    costs = [one.cost for one in networks]
    return NetworkGroup(networks, [min(costs), max(costs)])
