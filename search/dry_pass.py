"""A search's dry pass: one weight step, one update of the controller, one judged network."""

import random
from collections.abc import Callable
from functools import partial
from itertools import islice

import pytorch_lightning as pl
import torch
from torch import Tensor

from search.callbacks import searching
from search.controllers.controller import UpdateStep
from search.module import SearchModule
from search.paths import warmup_path
from search.plan.time_left import SearchTime, weight_steps
from search.selection.selection import evaluate_recalibrated
from search.step import controller_step, make_generator
from supernet.data.splits import Batch
from supernet.run.dry_pass import DryPass, Piece, copied
from supernet.space.arch import Arch
from supernet.training.step_times import TimeLeft


class SearchDryPass(DryPass):
    """Runs them on copies of the supernet and the controller."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the pieces now where no shared weights are left to train: no training ever starts.

        Raises:
            UserError: naming the piece that fails; or DryRunDoneError.
        """
        search = searching(pl_module)
        if search.learns_from_tunings and search.steps_done >= search.shared_steps:
            self.on_train_start(trainer, pl_module)

    def pieces(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Piece]:
        """The pieces of a search, the costliest path among them if it trains any."""
        search = searching(module)
        arch = search.space.sample(random.Random(search.seed))
        others: dict[str, Piece] = {
            "one update of the controller": lambda: update(search, scores(search)),
            "one judged network": lambda: judge(search, arch),
        }
        if search.learns_from_tunings and search.steps_done >= search.shared_steps:
            return others
        batch = search.moved(search.data.first_weights_batch())
        return {"one weight step": lambda: weight_step(search, batch, arch), **others}

    def time_left(self, trainer: pl.Trainer, module: pl.LightningModule) -> TimeLeft:
        """By steps of paths, of networks and of slices, whichever the search has."""
        search = searching(module)
        learn = partial(update, search, _equal_scores)
        return SearchTime(search, self.path.parents[1], learn).left()


def weight_step(search: SearchModule, batch: Batch, arch: Arch) -> None:
    """One step of a path that enables everything, which takes the most memory."""
    path = warmup_path(arch, search.space, 1.0, random.Random(0))
    with weight_steps(search, batch) as step:
        step(path)


def update(search: SearchModule, accuracies: Callable[[Tensor], Tensor]) -> None:
    """One update of a copy of the controller, from scores (M,) of indices (M, D)."""
    place = (search.seed, search.steps_done, search.global_rank)
    with copied(search, "controller"):
        controller_step(
            search.controller,
            search.sampling.samples,
            accuracies,
            UpdateStep(0, 1),
            draws=make_generator("samples", *place),
            shuffles=make_generator("minibatches", *place),
        )


def scores(search: SearchModule) -> Callable[[Tensor], Tensor]:
    """Scores on the first reward batch, or equal ones where slices are not scored."""
    return _equal_scores if search.learns_from_tunings else _slice_scores(search)


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
