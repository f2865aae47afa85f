"""Scores of networks that are not trained alone: by shared weights, for free, by regressions."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from search.evaluation.frozen_supernet import FrozenSupernet
from search.evaluation.jobs import CachedJobs, Row, commit
from search.evaluation.trainings import network_hash
from search.rank.networks import BandNetwork
from search.surrogate.counts import counts_of
from supernet.cost.counts import count
from supernet.network.network import Network
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec


def named(supernets: Sequence[FrozenSupernet]) -> dict[str, FrozenSupernet]:
    """Supernets by the name of their score."""
    if len(supernets) == 1:
        return {"supernet": supernets[0]}
    return {f"supernet {number}": one for number, one in enumerate(supernets, 1)}


def supernet_scores(
    supernets: Sequence[FrozenSupernet],
    networks: Sequence[BandNetwork],
    path: Path,
    tunings: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Scores (N,) of each supernet: accuracy, the loss with its sign changed, what searches use.

    The last is the probability of the right class after some steps of training, as many as each of
    ``tunings`` says. The file ``path`` keeps what was evaluated.
    """
    scores = {}
    for name, supernet in named(supernets).items():
        rows = evaluations(supernet, networks, path, 0)
        scores[name] = np.array([row["accuracy"] for row in rows])
        scores[f"{name}, by loss"] = np.array([-row["loss"] for row in rows])
        for steps in tunings:
            rows = evaluations(supernet, networks, path, steps)
            scores[f"{name}, tuned for {steps}"] = np.array([row["probability"] for row in rows])
    return scores


def evaluations(
    supernet: FrozenSupernet, networks: Sequence[BandNetwork], path: Path, tuning_steps: int
) -> list[Row]:
    """What a supernet's slices reach, tuned for some steps before; the file ``path`` keeps it."""
    known = {**supernet.identity, "tuning": tuning_steps}

    def identity(one: BandNetwork) -> Row:
        return {**known, "network": network_hash(one.spec)}

    def evaluate(one: BandNetwork) -> Row:
        found = supernet.evaluate(one.arch, tuning_steps)
        return {**identity(one), "commit": commit(), **found._asdict()}

    keys, where = ("supernet", "data", "images", "network", "tuning"), str(supernet.checkpoint)
    jobs = CachedJobs(
        "scores", path, keys, identity, partial(map, evaluate), status=lambda _: where
    )
    return jobs.rows(networks)


def synflow(spec: NetSpec, seed: int = 0) -> float:
    """Logarithm of the synaptic flow of a network with fresh weights.

    The sum over convolutions and classifier of weight times gradient, for weights made positive, an
    image of ones and the sum of the logits as loss (Tanaka et al. 2020, sec. 5; as a score of
    architectures Abdelfattah et al. 2021, sec. 3.1.2). Batch norms are passed by: on an image of
    ones they would subtract the signal itself. Torch's global generator is as it was afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The flow grows by orders of magnitude with each layer.
        network = Network(spec).double().eval()
    _pass_by_norms(network)
    for parameter in network.parameters():
        parameter.data.abs_()
    size = spec.resolution
    logits = network(torch.ones(1, 3, size, size, dtype=torch.float64))
    weights = [one for one in network.parameters() if one.ndim > 1]
    gradients = torch.autograd.grad(logits.sum(), weights)
    flows = [(one.detach() * slope).sum() for one, slope in zip(weights, gradients, strict=True)]
    return math.log(float(torch.stack(flows).sum()))


def _pass_by_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        _pass_by_norms(child)


def synflow_scores(networks: Sequence[BandNetwork], path: Path, seed: int = 0) -> np.ndarray:
    """Synflow of networks, (N,); kept in the file ``path``."""

    def identity(one: BandNetwork) -> Row:
        return {"score": "synflow", "seed": seed, "network": network_hash(one.spec)}

    def score(one: BandNetwork) -> Row:
        return {**identity(one), "commit": commit(), "value": synflow(one.spec, seed)}

    keys = ("score", "seed", "network")
    jobs = CachedJobs("synflow", path, keys, identity, partial(map, score), shown=False)
    return np.array([row["value"] for row in jobs.rows(networks)])


def free_scores(networks: Sequence[BandNetwork], unit: str) -> dict[str, np.ndarray]:
    """Scores (N,) that cost nothing: the larger, the better the network is held to be."""
    costs = [count(one.spec) for one in networks]
    scores: dict[str, list[float]] = {
        "MACs": [cost.macs for cost in costs],
        "params": [cost.params for cost in costs],
    }
    if unit == "ms":
        scores["latency"] = [one.cost for one in networks]
    scores["fewest layers"] = [-sum(1 for _ in one.spec.layers()) for one in networks]
    scores["fewest layers without shortcut"] = [
        -sum(layer.skip == "none" for layer in one.spec.layers()) for one in networks
    ]
    return {name: np.array(values, dtype=float) for name, values in scores.items()}


def choice_features(space: MnasSpace, networks: Sequence[BandNetwork]) -> np.ndarray:
    """One-hot choices of all decisions, and the logarithm of the MACs: (N, F)."""
    codes = np.array([space.encode(one.arch) for one in networks])
    hot = [np.eye(size)[column] for size, column in zip(space.decision_sizes, codes.T, strict=True)]
    macs = np.log([[count(one.spec).macs] for one in networks])
    return np.concatenate([*hot, macs], axis=1)


def count_features(networks: Sequence[BandNetwork]) -> np.ndarray:
    """Counts of each network, as a search's surrogate weighs them, (N, F)."""
    rows = [counts_of(one.spec) for one in networks]
    names = sorted({name for row in rows for name in row})
    return np.array([[row.get(name, 0.0) for name in names] for row in rows])


def ridge_scores(
    inputs: np.ndarray, runs: np.ndarray, num_fitted: int, repeats: int = 50, seed: int = 0
) -> np.ndarray:
    """Predictions of ridge regressions that are fitted to single trainings of some networks.

    Args:
        inputs: features of the networks, (N, F).
        runs: accuracies, (N, S); each fitted network counts with one of its seeds.
        num_fitted: how many networks each regression is fitted to.
        repeats: R, how often networks are chosen anew.
        seed: of the choice.

    Returns:
        (R, N), NaN for the networks that a regression was fitted to.
    """
    rng = np.random.default_rng(seed)
    scores = np.full((repeats, len(runs)), np.nan)
    for row in scores:
        fitted, others = np.split(rng.permutation(len(runs)), [num_fitted])
        row[others] = _ridge_predictions(inputs[fitted], runs[fitted], inputs[others], rng)
    return scores


def ridge_scores_of_others(
    inputs: np.ndarray, runs: np.ndarray, others: np.ndarray, repeats: int = 50, seed: int = 0
) -> np.ndarray:
    """Predictions (R, M) for other networks, of regressions fitted to all N of these.

    ``others`` are their features (M, F), the other arguments those of ``ridge_scores``; drawn anew
    are the seeds.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_ridge_predictions(inputs, runs, others, rng) for _ in range(repeats)])


def _ridge_predictions(
    inputs: np.ndarray, runs: np.ndarray, others: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    # Takes a second to load.
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    single = runs[np.arange(len(runs)), rng.integers(runs.shape[1], size=len(runs))]
    return model.fit(inputs, single).predict(others)
