"""A search's dry pass: one weight step, one update of the controller, one judged network."""

import random
from collections.abc import Callable
from itertools import islice

import pytorch_lightning as pl
import torch
from torch import Tensor

from search.callbacks import searching
from search.controllers.controller import UpdateStep
from search.module import SearchModule
from search.paths import warmup_path
from search.selection.selection import evaluate_recalibrated
from search.step import controller_step, make_generator
from supernet.data.resumable import StepLoader
from supernet.data.splits import Batch
from supernet.run.dry_pass import DryPass, Piece, copied
from supernet.run.finite import scales_loss
from supernet.space.arch import Arch


class SearchDryPass(DryPass):
    """Runs them on copies of the supernet and the controller."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the pieces now where no shared weights are trained: then no training ever starts.

        Raises:
            UserError: naming the piece that fails; or DryRunDoneError.
        """
        if not searching(pl_module).shared_steps:
            self.on_train_start(trainer, pl_module)

    def pieces(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Piece]:
        """The pieces of a search, the costliest path among them if it trains any."""
        search = searching(module)
        arch = search.space.sample(random.Random(search.seed))
        others: dict[str, Piece] = {
            "one update of the controller": lambda: update(search),
            "one judged network": lambda: judge(search, arch),
        }
        if not search.shared_steps:
            return others
        loader = trainer.train_dataloader
        assert isinstance(loader, StepLoader)
        batch = search.moved(loader.peek())
        return {"one weight step": lambda: weight_step(search, batch, arch), **others}


def weight_step(search: SearchModule, batch: Batch, arch: Arch) -> None:
    """One step of a path that enables everything, which takes the most memory."""
    images, *known = batch
    path = warmup_path(arch, search.space, 1.0, random.Random(0))
    with copied(search, "supernet"):
        fused = not scales_loss(search.trainer)
        optimizer = search.weights.optimizer(search.supernet, len(images), fused)
        with search.trainer.precision_plugin.train_step_context():
            logits = search.supernet(images, path, 1.0)
            loss = search.loss(logits, *known).training
        loss.backward()
        optimizer.step()


def update(search: SearchModule) -> None:
    """One update from scores on the first reward batch, or from equal ones without slices."""
    place = (search.seed, search.steps_done, search.global_rank)
    with copied(search, "controller"):
        controller_step(
            search.controller,
            search.sampling.samples,
            _equal_scores if search.learns_from_tunings else _slice_scores(search),
            UpdateStep(0, 1),
            draws=make_generator("samples", *place),
            shuffles=make_generator("minibatches", *place),
        )


def _equal_scores(rows: Tensor) -> Tensor:
    return torch.full((len(rows),), 0.5)


def _slice_scores(search: SearchModule) -> Callable[[Tensor], Tensor]:
    batch = search.first_reward_batch()
    # Whether scores are finite is looked at when a controller learns from them.
    return lambda rows: torch.nan_to_num(search.slice_scores(search.decoded(rows), batch))


def judge(search: SearchModule, arch: Arch) -> None:
    """One network: extracted, tuned for a step, and evaluated on a batch of validation images."""
    batches = islice(search.data.val_batches(), 1)
    tuning = min(1, search.lengths.final)
    evaluate_recalibrated(search, arch, 1, batches, tuning)
