"""A search's dry pass: one weight step, one update of the controller, one judged network."""

import random
from collections.abc import Callable
from functools import partial
from itertools import islice

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.callbacks import searching
from search.controllers.controller import UpdateStep
from search.module import SearchModule
from search.plan.time_left import SearchTime, weight_steps
from search.selection.selection import evaluate_recalibrated
from search.step import controller_step, make_generator
from search.surrogate.tunings import check_processes
from supernet.data.splits import Batch
from supernet.network.network import Network
from supernet.run.dry_pass import DryPass, Piece, copied
from supernet.space.arch import EXPANSION, Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from supernet.training.memory import StepMemory, step_memory
from supernet.training.step_times import TimeLeft


class SearchDryPass(DryPass):
    """Runs them on copies of the supernet and the controller."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the pieces now where no shared weights are left to train: no training ever starts.

        Raises:
            UserError: naming the piece that fails, or processes that would hold too much; or
                DryRunDoneError.
        """
        search = searching(pl_module)
        if search.learns_from_tunings:
            check_processes(search)
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
        return {"one weight step": lambda: weight_step(search, batch), **others}

    def memory(self, trainer: pl.Trainer, module: pl.LightningModule) -> StepMemory:
        """Of the largest network, on shared weights if there are any to train."""
        search, device = searching(module), trainer.strategy.root_device
        arch = largest(search.space)
        if not search.schedule.shared_steps(total=1000, score=search.sampling.score):
            network = Network(search.space.spec(arch)).to(memory_format=search.memory_format)
            return _memory(search, network.to(device), network)
        with copied(search, "supernet"):
            supernet = search.supernet.to(device).train()
            return _memory(search, supernet, lambda images: supernet(images, arch, 1.0))

    def time_left(self, trainer: pl.Trainer, module: pl.LightningModule) -> TimeLeft:
        """By steps of paths, of networks and of slices, whichever the search has."""
        search = searching(module)
        learn = partial(update, search, _equal_scores)
        return SearchTime(search, self.path.parents[1], learn).left()


def _memory(search: SearchModule, module: nn.Module, run: Callable[[Tensor], Tensor]) -> StepMemory:
    """What a step of a module takes, which ``run`` passes images (B, 3, R, R) through."""
    device, side = next(module.parameters()).device, search.space.resolution

    def loss_of(images: int) -> Tensor:
        shown = search.laid_out(torch.zeros(images, 3, side, side, device=device))
        with search.trainer.precision_plugin.train_step_context(), torch.enable_grad():
            labels = torch.zeros(images, dtype=torch.long, device=device)
            return functional.cross_entropy(run(shown), labels)

    return step_memory(module, loss_of)


def weight_step(search: SearchModule, batch: Batch) -> None:
    """One step of the network whose features take the most memory."""
    with weight_steps(search, batch) as step:
        step(largest(search.space))


def largest(space: MnasSpace) -> Arch:
    """The architecture that expands the most, of the largest value of each other decision."""
    blocks = []
    for choices in space.choices:
        widest = max(choices["op"], key=EXPANSION.__getitem__)
        skip = next(one for one in ("pool", "identity", "none") if one in choices["skip"])
        sizes = {name: max(choices[name]) for name in ("kernel", "se", "filters", "layers")}
        blocks.append(BlockChoice(widest, skip=skip, **sizes))
    return Arch(tuple(blocks))


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
