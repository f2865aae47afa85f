"""The networks that are ranked: drawn alike over a range of costs, and what is known for free."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from supernet.cost.counts import count
from supernet.cost.model import CostModel
from supernet.errors import UserError
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

TAIL = 0.05
"""Share of the space's networks beyond the bands at either end."""
DRAWS = 2000
"""Architectures to draw for each network before a band counts as empty."""


@dataclass(frozen=True)
class Candidate:
    """A network to be ranked."""

    arch: Arch
    """Canonical."""
    spec: NetSpec
    cost: float
    """Predicted, in the cost model's unit."""
    band: int
    """Number of its band, from 0, the cheapest."""


@dataclass(frozen=True)
class Drawing:
    """Networks and the bands that they were drawn from."""

    candidates: list[Candidate]
    edges: list[float]
    """Costs between which the bands lie, one more than there are bands."""


def draw(space: MnasSpace, model: CostModel, num: int, bands: int, seed: int) -> Drawing:
    """Draw distinct networks, uniform but for the cost: as many from each band.

    The bands are equally wide and lie between the 5 % and the 95 % quantile of the costs of uniform
    architectures. Drawing more networks keeps those of a smaller number: the bands take turns.

    Args:
        space: to draw from.
        model: what prices a network.
        num: how many.
        bands: how many.
        seed: of the architectures; it does not move the bands.

    Raises:
        UserError: when a band has too few networks.
    """
    low, high = (quantile(model, space, q) for q in (TAIL, 1 - TAIL))
    edges = np.linspace(low, high, bands + 1).tolist()
    wanted = [len(range(band, num, bands)) for band in range(bands)]
    found: list[list[Candidate]] = [[] for _ in range(bands)]
    for arch, spec in space.distinct(islice(space.samples(seed), DRAWS * num)):
        cost = model.predict(spec)
        band = int(np.searchsorted(edges, cost, side="right")) - 1
        if 0 <= band < bands and len(found[band]) < wanted[band]:
            found[band].append(Candidate(arch, spec, cost, band))
        if all(len(some) == most for some, most in zip(found, wanted, strict=True)):
            turns = zip_longest(*found)
            return Drawing([one for one in chain.from_iterable(turns) if one], edges)
    short = next(b for b in range(bands) if len(found[b]) < wanted[b])
    raise UserError(
        f"only {len(found[short])} of {wanted[short]} networks found between {edges[short]:.4g} and"
        f" {edges[short + 1]:.4g} {model.unit}: ask for fewer --networks or --bands"
    )


def free_scores(candidates: Sequence[Candidate], unit: str) -> dict[str, np.ndarray]:
    """Scores (N,) that cost nothing: the larger, the better the network is held to be."""
    costs = [count(one.spec) for one in candidates]
    scores: dict[str, list[float]] = {
        "MACs": [cost.macs for cost in costs],
        "params": [cost.params for cost in costs],
    }
    if unit == "ms":
        scores["latency"] = [one.cost for one in candidates]
    scores["fewest layers without shortcut"] = [
        -sum(layer.skip == "none" for layer in one.spec.layers()) for one in candidates
    ]
    return {name: np.array(values, dtype=float) for name, values in scores.items()}


def features(space: MnasSpace, candidates: Sequence[Candidate]) -> np.ndarray:
    """One-hot choices of all decisions, and the logarithm of the MACs: (N, F)."""
    codes = np.array([space.encode(one.arch) for one in candidates])
    hot = [np.eye(size)[column] for size, column in zip(space.decision_sizes, codes.T, strict=True)]
    macs = np.log([[count(one.spec).macs] for one in candidates])
    return np.concatenate([*hot, macs], axis=1)


def ridge_scores(
    inputs: np.ndarray, runs: np.ndarray, trainings: int, repeats: int = 50, seed: int = 0
) -> np.ndarray:
    """Predictions of ridge regressions that are fitted to single trainings of some networks.

    Args:
        inputs: features of the networks, (N, F).
        runs: accuracies, (N, S); each fitted network counts with one of its seeds.
        trainings: how many networks each regression is fitted to.
        repeats: R, how often networks are chosen anew.
        seed: of the choice.

    Returns:
        (R, N), NaN for the networks that a regression was fitted to.
    """
    rng = np.random.default_rng(seed)
    scores = np.full((repeats, len(runs)), np.nan)
    for row in scores:
        fitted, others = np.split(rng.permutation(len(runs)), [trainings])
        model = _fitted_ridge(inputs[fitted], runs[fitted], rng)
        row[others] = model.predict(inputs[others])
    return scores


def ridge_scores_of_others(
    inputs: np.ndarray, runs: np.ndarray, others: np.ndarray, repeats: int = 50, seed: int = 0
) -> np.ndarray:
    """Predictions for M other networks of ridge regressions that are fitted to all N of these.

    Args:
        inputs: features of these, (N, F).
        runs: accuracies of these, (N, S); in each regression they count with one of their seeds.
        others: features of the others, (M, F).
        repeats: R, how often seeds are drawn anew.
        seed: of that.

    Returns:
        (R, M).
    """
    rng = np.random.default_rng(seed)
    return np.stack([_fitted_ridge(inputs, runs, rng).predict(others) for _ in range(repeats)])


def _fitted_ridge(inputs: np.ndarray, runs: np.ndarray, rng: np.random.Generator) -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    single = runs[np.arange(len(runs)), rng.integers(runs.shape[1], size=len(runs))]
    return model.fit(inputs, single)


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
    proposed = (
        space.decode(row)
        for _ in range(DRAWS * num // BATCH + 1)
        for row in controller.propose(BATCH, generator).indices.tolist()
    )
    candidates = [
        Candidate(arch, spec, model.predict(spec), 0)
        for arch, spec in islice(space.distinct(proposed), num)
    ]
    if len(candidates) < num:
        raise UserError(
            f"--policy is {num}, but the controller proposes only {len(candidates)} networks that"
            " differ: ask for fewer"
        )
    costs = [one.cost for one in candidates]
    return Drawing(candidates, [min(costs), max(costs)])
