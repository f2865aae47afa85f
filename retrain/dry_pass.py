"""A training's dry pass: one weight step, and one batch of validation images judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch

from retrain.recipe_module import RecipeModule
from supernet.data.resumable import StepLoader
from supernet.data.run_data import RunData
from supernet.run.dry_pass import DryPass, Piece, copied
from supernet.run.finite import scales_loss


class TrainingDryPass(DryPass):
    """Runs a step on a copy of the network."""

    def pieces(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Piece]:
        """The step, on the batch that comes next."""
        assert isinstance(module, RecipeModule)
        return {
            "one weight step": lambda: weight_step(trainer, module),
            "one judged batch": lambda: judge(trainer, module),
        }


def weight_step(trainer: pl.Trainer, module: RecipeModule) -> None:
    """Forward, backward and a step of an optimizer that is thrown away."""
    loader = trainer.train_dataloader
    assert isinstance(loader, StepLoader)
    batch = data_of(trainer).moved(loader.peek(), module.device)
    with copied(module, "network"), unlogged(module):
        optimizer = module.recipe.make_optimizer(module.network, 1, not scales_loss(trainer))
        with trainer.precision_plugin.train_step_context(), torch.enable_grad():
            loss = module.training_loss(batch)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def judge(trainer: pl.Trainer, module: RecipeModule) -> None:
    """Forward of the first validation images, if there are any to judge."""
    data = data_of(trainer)
    for batch in islice(data.val_batches(), 1):
        images, _ = data.moved(batch, module.device)
        with copied(module, "network"), trainer.precision_plugin.val_step_context():
            module.network.eval()
            module(images)


def data_of(trainer: pl.Trainer) -> RunData:
    """The images of a run, which a trainer's type does not tell of."""
    untyped: Any = trainer
    data: RunData = untyped.datamodule
    return data


@contextmanager
def unlogged(module: RecipeModule) -> Iterator[None]:
    """Let a module log nothing for a while: what is no step of the run is no metric of it."""
    module.__dict__["log"] = lambda *_, **__: None
    try:
        yield
    finally:
        del module.__dict__["log"]
