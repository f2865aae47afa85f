"""``--compile``: a training's passes as torch.compile makes them, compared with eager ones."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from supernet.errors import UserError, one_line

BACKEND = "inductor"
OUTPUTS, GRADIENTS = "outputs", "gradients"
FULL, HALF = {OUTPUTS: 1e-3, GRADIENTS: 0.1}, {OUTPUTS: 0.05, GRADIENTS: 0.5}
"""Largest distance from eager ones, as a share of their norm, in float32 and in less.

Gradients are ill-conditioned: batch norms over few numbers leave eager ones of a fresh network 1 %
from those of float64.
"""
Run = Callable[[nn.Module, Tensor], Tensor]
Options = dict[str, str | int | bool | Callable[..., Any]] | None
NO_COMPILER = ("No working C++ compiler", "Failed to find C compiler")
"""What torch says where there is none, for a CPU and for a GPU."""


@functools.cache
def compiled_run() -> Run:
    """The pass of a network that is given, with images (B, 3, R, R) of one size.

    Copies of a network share what is compiled; names of parameters stay as they are.
    """
    # Draws stay those of PyTorch, which are a function of the seed and the step. Shapes are fixed,
    # as batches are whole.
    options: Options = {"fallback_random": True} if BACKEND == "inductor" else None
    return torch.compile(_run, backend=BACKEND, options=options, dynamic=False)


def _run(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network.forward(images)
    return logits


def check_compiled(passes: Callable[[bool], tuple[Tensor, Tensor]], precision: str) -> None:
    """Compare outputs and gradients of the first batch with eager ones.

    Args:
        passes: makes both of equal weights and draws, compiled or not.
        precision: of the trainer.

    Raises:
        UserError: when they differ by more than is allowed, or nothing can be compiled.
    """
    eager = passes(False)
    try:
        compiled = passes(True)
    except Exception as error:  # whatever a compiler stumbles over
        raise UserError(why_not(error)) from error
    limits = FULL if precision == "32-true" else HALF
    for (what, limit), one, other in zip(limits.items(), compiled, eager, strict=True):
        distance = float((one - other).norm() / other.norm())
        if not distance <= limit:
            raise UserError(
                f"--compile: {what} of the first batch are {distance:.2g} of their norm from eager"
                f" ones, allowed is {limit} in {precision}: leave --compile out"
            )


def why_not(error: Exception) -> str:
    """Why nothing can be compiled, in one line."""
    line = one_line(error)
    if any(words in line for words in NO_COMPILER):
        return (
            "--compile needs a C++ compiler, and none is here: install one, such as g++ (or name it"
            " in the environment variables CC and CXX), or leave --compile out"
        )
    return f"--compile fails ({type(error).__name__}: {line[:200]}): leave --compile out"
