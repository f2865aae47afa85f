"""An optimizer of timm that takes its fastest way on CPUs."""

from __future__ import annotations

import inspect
from typing import Any

from timm.optim import create_optimizer_v2, get_optimizer_class
from torch import nn
from torch.optim import Optimizer


def make_optimizer(module: nn.Module, name: str, **settings: Any) -> Optimizer:
    """Timm's ``create_optimizer_v2``, fused where torch offers that for CPUs.

    Args:
        module: what it updates, on the device of its training.
        name: of an optimizer of timm.
        settings: See ``create_optimizer_v2``.

    Raises:
        ValueError: when timm has no such optimizer, or it refuses its settings.
    """
    kind = inspect.signature(get_optimizer_class(name, bind_defaults=False))
    # On CPUs torch's default is a loop over tensors, a quarter of a small network's step; on GPUs
    # it is fast by itself, and fused ones would rule out clipping in fp16.
    if "fused" in kind.parameters and next(module.parameters()).is_cpu:
        settings["fused"] = True
    return create_optimizer_v2(module, name, **settings)
