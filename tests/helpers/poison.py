"""A callback that makes a number nan: --trainer.callbacks tests.helpers.poison.Poison."""

import pytorch_lightning as pl
import torch


class Poison(pl.Callback):
    """Puts a nan into one place at the end of a step, or before it, for a while.

    Places: ``batch``, ``gradient``, ``weight``, ``controller``, ``optimizer``, ``average``.
    """

    def __init__(self, place: str, step: int, steps: int = 1) -> None:
        self.place, self.steps = place, range(step, step + steps)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.now = trainer.global_step in self.steps
        if self.now and self.place == "batch":
            batch[0][0, 0, 0, 0] = torch.nan

    def on_after_backward(self, trainer, pl_module):
        if self.now and self.place == "gradient":
            spoil(next(one.grad for one in pl_module.parameters() if one.grad is not None))

    @torch.no_grad()
    def on_train_batch_end(self, trainer, pl_module, *_):
        if not self.now:
            return
        if self.place == "weight":
            spoil(next(pl_module.parameters()))
        elif self.place == "controller":
            spoil(next(pl_module.controller.parameters()))
        elif self.place == "optimizer":
            spoil(next(iter(trainer.optimizers[0].state.values()))["exp_avg"])
        elif self.place == "average":
            (average,) = (one for one in trainer.callbacks if hasattr(one, "_average_model"))
            spoil(next(average._average_model.parameters()))


def spoil(tensor):
    """Make its first number nan."""
    tensor[(0,) * tensor.ndim] = torch.nan


def nonfinite(held):
    """Places in nested containers of a checkpoint that hold a tensor which is not finite."""
    if isinstance(held, torch.Tensor):
        return [] if held.isfinite().all() else [held.shape]
    if isinstance(held, dict):
        held = [part for name, part in held.items() if name != "callbacks"]
    return [one for part in held for one in nonfinite(part)] if isinstance(held, list) else []
