"""Networks on shared weights: tuned, recalibrated and evaluated, by a search or after it."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from search.evaluation.jobs import Row, short_hash
from search.evaluation.trainings import TrainingRunner, check_shape, plain_data
from search.loss import SearchLoss
from search.monitoring.compute import Spent
from search.settings import WeightOptimizer
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.errors import UserError
from supernet.network.network import Network, recalibrate
from supernet.network.supernet import SuperNet, read_checkpoint, rebuild_supernet
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.training.standalone import Evaluation, evaluate


class Course(NamedTuple):
    """What each step of a tuning showed, before it changed the network."""

    losses: Tensor
    """(S,) by which the network is judged: cross-entropies, in nats, unless a teacher judges."""
    accuracies: Tensor
    """(S,) shares of right answers."""


@torch.enable_grad()
def tune(
    network: Network,
    batches: Iterable[Batch],
    weights: WeightOptimizer,
    num_steps: int,
    decays: bool = True,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    learn: SearchLoss | None = None,
) -> Course:
    """Train all weights of a network for a few steps.

    Its running statistics are stale afterwards: ``recalibrate`` it.

    Args:
        network: extracted from a supernet, or fresh.
        batches: at least ``num_steps``, on the network's device and in its memory format.
        weights: the optimizer of the shared weights, which starts afresh here.
        num_steps: 0 leaves the network as it is.
        decays: whether the learning rate falls linearly to 0; else it stays the largest, so that
            the losses of two lengths agree as far as both go.
        precision: makes the context of a forward pass, one that needs no scaled loss; full
            precision by default.
        learn: the loss; that of ``weights``, without a teacher, by default.
    """
    learn = learn or SearchLoss(weights.label_smoothing)
    network.train()
    losses, accuracies = [], []
    for step, batch in enumerate(islice(batches, num_steps)):
        images, labels, answers = batch[0], batch[1], batch[2:]
        if step == 0:
            optimizer = weights.optimizer(network, len(labels))
        for group in optimizer.param_groups:
            group["lr"] = group["largest_lr"] * (1 - step / num_steps if decays else 1)
        with precision():
            logits = network(images)
            found = learn(logits, labels, *answers)
        optimizer.zero_grad(set_to_none=True)
        found.training.backward()
        weights.shorten_gradients(optimizer)
        optimizer.step()
        losses.append(found.judged.detach().float())
        accuracies.append((logits.detach().argmax(1) == labels).float().mean())
    if not losses:
        return Course(torch.zeros(0), torch.zeros(0))
    # Only now, as reading a number waits for a GPU.
    return Course(torch.stack(losses).cpu(), torch.stack(accuracies).cpu())


def channels_last(batch: Batch) -> Batch:
    """A batch in the memory format that is several times faster on CPUs."""
    return batch[0].contiguous(memory_format=torch.channels_last), *batch[1:]


def laid_out(data: RunData) -> Callable[[Batch], Batch]:
    """What makes a batch of these data one of network inputs, on the CPU in channels_last."""
    return lambda batch: channels_last(data.moved(batch, torch.device("cpu")))


def evaluate_extracted(
    network: Network,
    data: RunData,
    batches: Iterable[Batch],
    num_images: int,
    tuning_steps: int = 0,
    weights: WeightOptimizer = WeightOptimizer(),
    moved: Callable[[Batch], Batch] = channels_last,
    precision: AbstractContextManager[object] = nullcontext(),
    learn: SearchLoss | None = None,
) -> Evaluation:
    """Tune an extracted network, give it batch statistics of its own, and evaluate it.

    Args:
        network: changed by this.
        data: whose weights part tunes it and gives the statistics.
        batches: what to evaluate on, in host memory.
        num_images: training images that give the statistics.
        tuning_steps: how long it is trained before, in full precision.
        weights: the optimizer for that.
        moved: brings a batch to the network's device and memory format.
        precision: the context of forward passes after that.
        learn: the loss, see ``tune``.
    """
    batches_to_learn = map(moved, data.endless_weights_batches())
    tune(network, batches_to_learn, weights, tuning_steps, learn=learn)
    with precision:
        recalibrate(network, (moved(batch)[0] for batch in data.weights_batches(num_images)))
        return evaluate(network, map(moved, batches))


class FrozenSupernet:
    """The supernet of a checkpoint, as a judge of networks that are not trained alone."""

    def __init__(self, checkpoint: Path, runner: TrainingRunner, num_images: int) -> None:
        """Load it, to judge on the data of ``runner``.

        ``num_images`` training images give the batch norms their statistics.

        Raises:
            UserError: when it is none, or was searched on images of another shape.
        """
        self.checkpoint, self.runner, self.num_images = checkpoint, runner, num_images
        held = read_checkpoint(checkpoint)
        self.seed: int = held["search"]["seed"]
        """Seed of the search, which says what images it held out."""
        self.spent = Spent.of(held)
        """What its search has spent so far; None if the checkpoint does not say."""
        self.supernet: SuperNet = rebuild_supernet(held, checkpoint)
        self.supernet.to(memory_format=torch.channels_last)
        check_shape(f"{checkpoint} was searched with", self.space, runner.data)

    @property
    def space(self) -> MnasSpace:
        """Whose networks it judges."""
        return self.supernet.space

    @property
    def identity(self) -> Row:
        """What identifies its scores: weights, data and images."""
        digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()[:16]
        data = short_hash(plain_data(self.runner.training))
        return {"supernet": digest, "data": data, "images": self.num_images}

    def evaluate(self, arch: Arch, tuning_steps: int = 0) -> Evaluation:
        """What an extracted network is worth on all validation images.

        It is trained for ``tuning_steps`` before, by a search's default optimizer.
        """
        network = self.supernet.extract(arch).to(memory_format=torch.channels_last)
        searched, images = self._searched, self.num_images
        moved, batches = laid_out(searched), searched.val_batches()
        return evaluate_extracted(network, searched, batches, images, tuning_steps, moved=moved)

    @property
    def num_judging_images(self) -> int:
        """Images that ``evaluate`` runs a network on: for its statistics, and to validate it."""
        return self.num_images + self._searched.num_val

    @property
    def _searched(self) -> RunData:
        """The images as its search had them."""
        return RunData(self.runner.data, "search", self.seed)


def load_supernets(
    checkpoints: Sequence[Path], runner: TrainingRunner, num_images: int, advice: str
) -> list[FrozenSupernet]:
    """Supernets of one space; arguments as for one.

    Raises:
        UserError: with the advice, when two have different spaces.
    """
    supernets = [FrozenSupernet(path, runner, num_images) for path in checkpoints]
    for other in supernets[1:]:
        if other.space != supernets[0].space:
            raise UserError(f"{other.checkpoint} has another space than {checkpoints[0]}: {advice}")
    return supernets
