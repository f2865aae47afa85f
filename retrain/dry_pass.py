"""A training's dry pass: one weight step, and one batch of validation images judged."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from retrain.compiled import check_compiled
from retrain.module import RetrainModule
from retrain.recipe_module import RecipeModule, may_fuse
from supernet.data.images.image_index import num_cores
from supernet.data.resumable import StepLoader
from supernet.run.dry_pass import DryPass, Piece, copied, data_of
from supernet.training.memory import StepMemory, step_memory
from supernet.training.step_times import (
    EPOCH_S,
    FORWARD,
    SHORTEST,
    STEP_S,
    TimeLeft,
    batch_seconds,
    time_steps,
)

TIMED = 8
"""Steps that are timed, at most."""


class TrainingDryPass(DryPass):
    """Runs a step on a copy of the network."""

    def pieces(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Piece]:
        """The step, on the batch that comes next."""
        assert isinstance(module, RecipeModule)
        return {
            # First, as it can say why nothing is compiled, which a step would stumble over.
            **({"one compiled pass": lambda: compare(trainer, module)} if module.compiles else {}),
            "one weight step": lambda: weight_step(trainer, module),
            "one judged batch": lambda: judge(trainer, module),
        }

    def memory(self, trainer: pl.Trainer, module: pl.LightningModule) -> StepMemory | None:
        """Of the network that is trained, eager; a detector's is not known."""
        if not isinstance(module, RetrainModule):
            return None
        spec, device = module.spec, trainer.strategy.root_device

        def loss_of(images: int) -> Tensor:
            with trainer.precision_plugin.train_step_context(), torch.enable_grad():
                shown = torch.zeros(images, 3, spec.resolution, spec.resolution, device=device)
                labels = torch.zeros(images, dtype=torch.long, device=device)
                laid_out = shown.contiguous(memory_format=torch.channels_last)
                return module.recipe.loss(module.network(laid_out), labels)

        with copied(module, "network"):
            module.network.to(device).train()
            return step_memory(module.network, loss_of)

    def time_left(self, trainer: pl.Trainer, module: pl.LightningModule) -> TimeLeft:
        """By some steps on the batch that comes next."""
        assert isinstance(module, RecipeModule)
        total = int(trainer.estimated_stepping_batches)
        left = max(0, total - trainer.global_step)
        batches = left * trainer.accumulate_grad_batches
        seconds = seconds_left(trainer, module, batches) if left >= SHORTEST else None
        return TimeLeft(left, total, seconds)


def weight_step(trainer: pl.Trainer, module: RecipeModule) -> None:
    """Forward, backward and a step of an optimizer that is thrown away."""
    batch = data_of(trainer).moved(loader_of(trainer).peek(), module.device)
    with weight_steps(trainer, module, batch) as step:
        step()


@contextmanager
def weight_steps(
    trainer: pl.Trainer, module: RecipeModule, batch: Any
) -> Iterator[Callable[[], object]]:
    """What makes a step on a batch, over and over, on a copy of the network."""
    with copied(module, "network"), unlogged(module):
        optimizer = module.recipe.make_optimizer(module.network, 1, may_fuse(trainer))

        def step() -> float:
            with trainer.precision_plugin.train_step_context(), torch.enable_grad():
                loss = module.training_loss(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            # Reading a weight waits for all that an accelerator has to do.
            return float(next(module.network.parameters()).detach().flatten()[0])

        yield step


def compare(trainer: pl.Trainer, module: RecipeModule) -> None:
    """A pass of the first batch forward and backward, compiled and eager, on copies."""
    images, labels, *_ = data_of(trainer).moved(loader_of(trainer).peek(), module.device)

    def passes(compiles: bool) -> tuple[Tensor, Tensor]:
        module.compiles = compiles
        torch.manual_seed(0)  # of dropout
        with copied(module, "network"), torch.enable_grad():
            with trainer.precision_plugin.train_step_context():
                logits = module(images)
                loss = module.recipe.loss(logits, labels)
            loss.backward()
            gradients = [one.grad for one in module.network.parameters() if one.grad is not None]
            return logits.detach().float(), torch.cat([one.flatten() for one in gradients])

    try:
        check_compiled(passes, trainer.precision)
    finally:
        module.compiles = True


@torch.no_grad()
def judge(trainer: pl.Trainer, module: RecipeModule) -> None:
    """Forward of the first validation images, if there are any to judge."""
    data = data_of(trainer)
    for batch in islice(data.val_batches(), 1):
        images, _ = data.moved(batch, module.device)
        with copied(module, "network"), trainer.precision_plugin.val_step_context():
            module.network.eval()
            module(images)


def loader_of(trainer: pl.Trainer) -> StepLoader:
    """Where the training images come from."""
    loader = trainer.train_dataloader
    assert isinstance(loader, StepLoader)
    return loader


def seconds_left(trainer: pl.Trainer, module: RecipeModule, batches: int) -> float:
    """Estimated seconds of so many training batches, and of the validations between them."""
    loader, data, waits = loader_of(trainer), data_of(trainer), module.device.type != "cpu"
    start = time.perf_counter()
    read = loader.peek()
    reading = time.perf_counter() - start
    with weight_steps(trainer, module, data.moved(read, module.device)) as step:
        found = time_steps([step] * TIMED, waits)
    readers = loader.loader.num_workers
    each = batch_seconds(found.later, reading, readers, num_cores(), waits)
    judging = batch_seconds(FORWARD * found.later, reading, readers, num_cores(), waits)
    epochs = batches / trainer.num_training_batches
    every = (trainer.val_check_batch or math.inf) * (trainer.check_val_every_n_epoch or 1)
    validations = batches / every * sum(trainer.num_val_batches)
    besides = found.busy * (STEP_S * batches + EPOCH_S * epochs)
    return batches * each + validations * judging + besides


@contextmanager
def unlogged(module: RecipeModule) -> Iterator[None]:
    """Let a module log nothing for a while: what is no step of the run is no metric of it."""
    module.__dict__["log"] = lambda *_, **__: None
    try:
        yield
    finally:
        del module.__dict__["log"]
