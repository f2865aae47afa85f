"""Synflow: a score of networks that needs neither data nor training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from search.cache import Cache, commit
from search.rank_networks import Candidate
from search.trainings import network_hash
from supernet.network import Network
from supernet.spec import NetSpec

KEYS = ("score", "seed", "network")
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
    cache = Cache(path, KEYS)
    rows = [
        {"score": "synflow", "seed": seed, "network": network_hash(one.spec)} for one in candidates
    ]
    for row, candidate in zip(rows, candidates, strict=True):
        if cache.key(row) not in cache.rows:
            cache.append({**row, "commit": commit(), "value": synflow(candidate.spec, seed)})
    return np.array([cache.rows[cache.key(row)]["value"] for row in rows])
