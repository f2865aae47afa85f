"""Numbers that are not finite end a run before they reach a file, or cost it one step.

Batches and losses are looked at in every step, all weights once in a logging interval and before
each checkpoint. On a GPU and with several processes, what steps have seen is read once in an
interval and before each checkpoint too: reading waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from supernet.command.output import say
from supernet.errors import UserError
from supernet.run.checkpoints import callbacks_of
from supernet.run.distributed import least_over_ranks
from supernet.run.folder import CONTINUE
from supernet.tracking.metrics import log_interval

OnNonfinite = Literal["stop", "skip"]
"""What a batch, loss or gradient that is not finite does: end the run, or cost it one step."""
MOST_IN_A_ROW = 40
"""Steps in a row that may be left out; the loss scale of 16-mixed may need 20 until it fits."""
BATCH, LOSS, GRADIENT = "a value of the batch", "the loss", "the gradient"
SCORE = "a score on the reward images"
_NEVER = 2**62


class LeftOutError(Exception):
    """Tells that a controller is to learn nothing from this step."""


class FiniteGuard(pl.Callback):
    """Stops at numbers that are not finite, or leaves such steps out and counts them.

    It comes before all callbacks that log or write. Weights that are not finite always end a run.
    """

    def __init__(self, on_nonfinite: OnNonfinite = "stop", lr_option: str = "the lr") -> None:
        """``lr_option`` names the learning rate in what to do."""
        self.skips, self.lr_option = on_nonfinite == "skip", lr_option
        self.steps = self.updates = 0
        """Weight steps, and a controller's updates, that were left out."""
        self._admitted = self._in_a_row = 0
        self._judged: list[Tensor] = []
        self._weights: dict[str, Tensor] = {}
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._first: dict[str, Tensor] = {}
        """First step in which each was not finite: tensors, for which no step waits."""

    @staticmethod
    def of(trainer: pl.Trainer) -> FiniteGuard:
        """The guard of a run; where there is none, one that stops."""
        guards = (one for one in callbacks_of(trainer) if isinstance(one, FiniteGuard))
        return next(guards, FiniteGuard())

    def state_dict(self) -> dict[str, int]:
        """What was left out so far."""
        counts = {"admitted": self._admitted, "in_a_row": self._in_a_row}
        return {"steps": self.steps, "updates": self.updates, **counts}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Count on from a checkpoint."""
        self.steps, self.updates = state_dict["steps"], state_dict["updates"]
        self._admitted, self._in_a_row = state_dict["admitted"], state_dict["in_a_row"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to start from weights that are not finite."""
        # Optimizers change them where they lie.
        self._weights = _weights(pl_module)
        if wrong := _nonfinite(trainer, self._weights):
            raise UserError(
                f"the weight {wrong} to start from is not finite: give a checkpoint of finite"
                " weights, or start anew in another --run"
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the batch, and keep what a forward pass changes where the step may be undone."""
        self._note(trainer, BATCH, *_floats(batch))
        if self._may_drop(trainer) and batch_idx % trainer.accumulate_grad_batches == 0:
            self._buffers = [(buffer, buffer.clone()) for buffer in pl_module.buffers()]

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss."""
        self._note(trainer, LOSS, loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Stop, or take the gradients away, so that the optimizer changes nothing."""
        if self._may_drop(trainer):
            self._drop_if_needed(trainer, optimizer)
        elif self._is_due(trainer):
            self._stop_if(trainer, self._seen())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Look at the weights once in a logging interval."""
        if trainer.global_step % log_interval(trainer) == 0:
            self._stop_at_weight(trainer, _nonfinite(trainer, self._weights))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any
    ) -> None:
        """Look at the batch."""
        self._judged.append(_all_finite(_floats(batch), _device(trainer)))

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any
    ) -> None:
        """Look at the batch."""
        self._judged.append(_all_finite(_floats(batch), _device(trainer)))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before weights are kept for figures that are not finite."""
        self._check_figures(trainer, "val")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before such figures are reported."""
        self._check_figures(trainer, "test")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what was left out.

        Raises:
            UserError: when it was most of the run, whose result would tell nothing.
        """
        shares = {
            "weight steps": (self.steps, trainer.global_step),
            "updates of the controller": (self.updates, self.updates + self._admitted),
        }
        for what, (left_out, of) in shares.items():
            seen = f"{left_out} of {of} {what} were left out, as numbers in them were not finite"
            if left_out > of / 2:
                raise UserError(
                    f"{seen}: mend the data or lower {self.lr_option}, and start anew in another"
                    " --run"
                )
            if left_out:
                say(f"note: {seen}")

    def check_checkpoint(self, trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
        """Look at what is about to be written, on all ranks; a file before stays as it is.

        Raises:
            UserError: naming what was not finite in a step, or a weight.
        """
        if not self.skips:
            self._stop_if(trainer, self._seen())
        kept = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
        held = dict(_tensors({name: checkpoint[name] for name in kept if name in checkpoint}))
        for name in _infinite_buffers(trainer.lightning_module):
            held.pop(f"state_dict.{name}", None)
        name = _nonfinite(trainer, held)
        self._stop_at_weight(trainer, name.removeprefix("state_dict."))

    def admitted(self, trainer: pl.Trainer, scores: Tensor) -> Tensor:
        """Scores (M,) from which a controller may learn: they are finite on all ranks.

        Raises:
            UserError: when they are not; or LeftOutError, where such steps are left out.
        """
        if least_over_ranks(scores.isfinite().all().long().to(_device(trainer))):
            self._admitted += 1
            return scores
        if not self.skips:
            self._stop_if(trainer, {SCORE: trainer.global_step})
        self.updates += 1
        raise LeftOutError

    def _may_drop(self, trainer: pl.Trainer) -> bool:
        # Under 16-mixed, gradients that overflow are no fault: their scale falls until they fit.
        return self.skips or scales_loss(trainer)

    def _note(self, trainer: pl.Trainer, what: str, *tensors: Tensor) -> None:
        never = torch.full((), _NEVER, device=_device(trainer))
        first = self._first.setdefault(what, never)
        for tensor in tensors:
            # One pass over the numbers, without as many truth values.
            is_finite = tensor.sum(dtype=torch.float32).isfinite().to(never.device)
            first = torch.minimum(first, torch.where(is_finite, _NEVER, trainer.global_step))
        self._first[what] = first

    def _seen(self) -> dict[str, int]:
        """The first step in which each was not finite on any rank; empty if all were."""
        if not self._first:
            return {}
        steps = least_over_ranks(torch.stack([*self._first.values()])).tolist()
        return {what: n for what, n in zip(self._first, steps, strict=True) if n < _NEVER}

    def _is_due(self, trainer: pl.Trainer) -> bool:
        every = log_interval(trainer)
        # Searches log the first step of an interval, retrainings the last.
        return not _waits(trainer) or trainer.global_step % every in (0, every - 1)

    def _drop_if_needed(self, trainer: pl.Trainer, optimizer: Optimizer) -> None:
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        gradients = [one.grad for one in parameters if one.grad is not None]
        finite = _all_finite(gradients, _device(trainer))
        self._first[GRADIENT] = torch.where(finite, _NEVER, trainer.global_step)
        seen, self._first = self._seen(), {}
        if not self.skips:
            faults = {what: step for what, step in seen.items() if what != GRADIENT}
            self._stop_if(trainer, faults)
        if not seen:
            self._in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None
        for buffer, before in self._buffers:
            buffer.copy_(before)
        self.steps, self._in_a_row = self.steps + 1, self._in_a_row + 1
        what = next(iter(seen))
        if self._in_a_row > MOST_IN_A_ROW:
            many = f"{self._in_a_row} steps in a row were left out: {what} is not finite"
            raise UserError(self._line(trainer, what, many, trainer.global_step))

    def _check_figures(self, trainer: pl.Trainer, split: str) -> None:
        images, self._judged = self._judged, []
        if images and not least_over_ranks(torch.stack(images).all().long()):
            raise UserError(
                f"an image or label of the {split} split is not finite (nan or infinity): mend the"
                " data"
            )
        for name, value in trainer.callback_metrics.items():
            if name.startswith(f"{split}/") and not math.isfinite(value):
                raise UserError(
                    f"{name} is {float(value)}: the network has outgrown the numbers of precision"
                    f" {trainer.precision}: start anew with a lower {self.lr_option}"
                )

    def _stop_if(self, trainer: pl.Trainer, seen: Mapping[str, int]) -> None:
        for what, step in seen.items():
            finding = f"{what} is not finite (nan or infinity)"
            raise UserError(self._line(trainer, what, finding, step))

    def _stop_at_weight(self, trainer: pl.Trainer, name: str) -> None:
        if name:
            what = f"the weight {name} is not finite"
            raise UserError(self._line(trainer, name, what, trainer.global_step))

    def _line(self, trainer: pl.Trainer, what: str, seen: str, step: int) -> str:
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        if what == BATCH:
            mend = "mend the images or labels"
        else:
            full = "" if trainer.precision == "32-true" else " or --trainer.precision 32-true"
            mend = f"start anew with a lower {self.lr_option}{full}"
        skip = "" if self.skips else f", or go on with {CONTINUE} --on_nonfinite skip"
        return (
            f"{seen} in step {step}, at learning rate {lr:.3g} and precision {trainer.precision};"
            f" nothing of it was saved: {mend}{skip}"
        )


def scales_loss(trainer: pl.Trainer) -> bool:
    """Whether losses, and with them gradients, are scaled before a backward pass (16-mixed)."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _waits(trainer: pl.Trainer) -> bool:
    """Whether who reads a number waits, for a device or for other processes."""
    return _device(trainer).type != "cpu" or trainer.world_size > 1


def _device(trainer: pl.Trainer) -> torch.device:
    return trainer.strategy.root_device


def _infinite_buffers(module: nn.Module) -> Iterator[str]:
    """Names of buffers that hold an infinity on purpose, such as places not yet filled."""
    for place, part in module.named_modules():
        for name in getattr(part, "infinite_buffers", ()):
            yield f"{place}.{name}" if place else name


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that must be finite, by name."""
    state = module.state_dict()
    for name in _infinite_buffers(module):
        state.pop(name, None)
    return state


def _floats(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, however nested, that can be other than finite."""
    if isinstance(batch, Tensor):
        if batch.is_floating_point():
            yield batch
    elif isinstance(batch, Mapping):
        yield from _floats([*batch.values()])
    elif isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _floats(part)


def _tensors(held: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested containers by their places there."""
    if isinstance(held, Tensor):
        yield place, held
    elif isinstance(held, (Mapping, list, tuple)):
        items = held.items() if isinstance(held, Mapping) else enumerate(held)
        for name, part in items:
            yield from _tensors(part, f"{place}.{name}" if place else str(name))


def _all_finite(tensors: Iterable[Tensor], device: torch.device) -> Tensor:
    """Whether all numbers of tensors are finite, a truth value that no one has waited for."""
    filled = [one.detach().float() for one in tensors if one.numel()]
    if not filled:
        return torch.ones((), dtype=torch.bool, device=device)
    # Sums of magnitudes, which take a processor half the time of the largest.
    sums = torch._foreach_norm(filled, 1)
    return torch.stack([one.to(device) for one in sums]).isfinite().all()


def _nonfinite(trainer: pl.Trainer, tensors: Mapping[str, Tensor]) -> str:
    """Name of a tensor that is not finite on some rank; empty if all are."""
    held = {name: one for name, one in tensors.items() if one.is_floating_point()}
    if least_over_ranks(_all_finite(held.values(), _device(trainer)).long()):
        return ""
    wrong = (name for name, one in held.items() if not one.isfinite().all())
    return next(wrong, "of another process")
