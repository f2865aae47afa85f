"""Scores of networks by the shared weights of searches, kept line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from search.evaluation.frozen_supernet import FrozenSupernet
from search.evaluation.trainings import network_hash
from search.rank.networks import Candidate
from supernet.command.output import ProgressLines
from supernet.files.cache import Cache, Row, commit
from supernet.network.network import Network
from supernet.space.spec import NetSpec

KEYS = ("supernet", "data", "images", "network", "tuning")
"""What identifies a score in the cache."""


def named(supernets: Sequence[FrozenSupernet]) -> dict[str, FrozenSupernet]:
    """Supernets by the name of their score."""
    if len(supernets) == 1:
        return {"supernet": supernets[0]}
    return {f"supernet {number}": one for number, one in enumerate(supernets, 1)}


def score_rows(
    supernets: Sequence[FrozenSupernet],
    candidates: Sequence[Candidate],
    path: Path,
    tunings: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Scores (N,) of each supernet: accuracy, the loss with its sign changed, what searches use.

    That is the probability of the right class after some steps of training (``Judge``).

    Args:
        supernets: of searches.
        candidates: the networks.
        path: where scores are kept.
        tunings: steps of such training.
    """
    scores = {}
    for name, supernet in named(supernets).items():
        rows = _kept_scores(supernet, candidates, path, 0)
        scores[name] = np.array([row["accuracy"] for row in rows])
        scores[f"{name}, by loss"] = np.array([-row["loss"] for row in rows])
        for steps in tunings:
            rows = _kept_scores(supernet, candidates, path, steps)
            scores[f"{name}, tuned for {steps}"] = np.array([row["probability"] for row in rows])
    return scores


def _kept_scores(
    supernet: FrozenSupernet, candidates: Sequence[Candidate], path: Path, tuning: int
) -> list[Row]:
    """Accuracy and loss of each network on the validation split; kept in the file ``path``."""
    cache, shared = Cache(path, KEYS), supernet.identity
    known = {**shared, "tuning": tuning}
    rows = [{**known, "network": network_hash(one.spec)} for one in candidates]
    with ProgressLines() as bar:
        task = bar.add_task("scores", total=len(rows), status=str(supernet.checkpoint))
        for row, candidate in zip(rows, candidates, strict=True):
            if cache.key(row) not in cache.rows:
                scored = supernet.evaluate(candidate.arch, tuning)
                cache.append({**row, "commit": commit(), **scored._asdict()})
            bar.update(task, advance=1)
    return [cache.rows[cache.key(row)] for row in rows]


SYNFLOW_KEYS = ("score", "seed", "network")
"""What identifies a score in the cache."""


def synflow(spec: NetSpec, seed: int = 0) -> float:
    """Logarithm of the synaptic flow of a network with fresh weights.

    The sum over convolutions and classifier of weight times gradient, for weights made positive, an
    image of ones and the sum of the logits as loss (Tanaka et al. 2020, sec. 5; as a score of
    architectures Abdelfattah et al. 2021, sec. 3.1.2). Batch norms are passed by: on an image of
    ones they would subtract the signal itself.

    Args:
        spec: the network.
        seed: of its weights; torch's global generator is as it was afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The flow grows by orders of magnitude with each layer.
        network = Network(spec).double().eval()
    _pass_by_norms(network)
    for parameter in network.parameters():
        parameter.data.abs_()
    size = spec.resolution
    network(torch.ones(1, 3, size, size, dtype=torch.float64)).sum().backward()
    weights = [one for one in network.parameters() if one.ndim > 1]
    flows = [(one.detach() * cast(Tensor, one.grad)).sum() for one in weights]
    return math.log(float(torch.stack(flows).sum()))


def _pass_by_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        _pass_by_norms(child)


def synflow_scores(candidates: Sequence[Candidate], path: Path, seed: int = 0) -> np.ndarray:
    """Synflow of networks, (N,); kept in the file ``path``."""
    cache = Cache(path, SYNFLOW_KEYS)
    rows = [
        {"score": "synflow", "seed": seed, "network": network_hash(one.spec)} for one in candidates
    ]
    for row, candidate in zip(rows, candidates, strict=True):
        if cache.key(row) not in cache.rows:
            cache.append({**row, "commit": commit(), "value": synflow(candidate.spec, seed)})
    return np.array([cache.rows[cache.key(row)]["value"] for row in rows])
