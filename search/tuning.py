"""A few steps of training for a network that was cut from shared weights, before it is judged.

Shared weights serve all networks at once and none well: how fast one that is let go improves tells
more of what it will reach alone than where it starts (Supernet Shifting, Zhang et al. 2024, moves
whole supernets so; figures in docs/search-quality.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from search.settings import WeightOptimizer
from supernet.network import Network


@torch.enable_grad()
def tune(
    network: Network, batches: Iterable[tuple[Tensor, Tensor]], weights: WeightOptimizer, steps: int
) -> None:
    """Train all weights of a network; the learning rate falls linearly to 0.

    Its running statistics are stale afterwards: ``recalibrate`` it.

    Args:
        network: extracted from the supernet.
        batches: at least ``steps`` of images (B, 3, R, R) and labels (B,), on the network's device
            and in its memory format.
        weights: the optimizer of the shared weights, which starts afresh here.
        steps: 0 leaves the network as it is.
    """
    network.train()
    for step, (images, labels) in enumerate(islice(batches, steps)):
        if step == 0:
            optimizer = weights.optimizer(network, len(labels))
        for group in optimizer.param_groups:
            group["lr"] = group["largest_lr"] * (1 - step / steps)
        loss = functional.cross_entropy(
            network(images), labels, label_smoothing=weights.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), weights.max_grad_norm)
        optimizer.step()
