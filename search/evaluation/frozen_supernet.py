"""The shared weights of a finished search, as a judge of networks that are not trained alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from search.evaluation.trainings import Trainer, plain_data
from search.monitoring.compute import Spent
from search.selection.selection import tune
from search.settings import WeightOptimizer
from supernet.data.run_data import RunData, image_shape
from supernet.errors import UserError
from supernet.files.cache import Row, short_hash
from supernet.network.network import recalibrate
from supernet.network.supernet import SuperNet, read_checkpoint, rebuild_supernet
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.training.standalone import Evaluation, evaluate


class FrozenSupernet:
    """The supernet of a checkpoint, as a judge of networks that are not trained alone."""

    def __init__(self, checkpoint: Path, trainer: Trainer, images: int) -> None:
        """Load it.

        Args:
            checkpoint: of a search.
            trainer: whose data to judge on.
            images: training images that give the batch norms their statistics.

        Raises:
            UserError: when it is none, or was searched on images of another shape.
        """
        self.checkpoint, self.trainer, self.images = checkpoint, trainer, images
        held = read_checkpoint(checkpoint)
        self.seed: int = held["search"]["seed"]
        """Of the search, which says what images it held out."""
        self.spent = Spent.of(held)
        self.supernet: SuperNet = rebuild_supernet(held, checkpoint)
        self.supernet.to(memory_format=torch.channels_last)
        theirs = (self.space.classes, self.space.resolution, self.space.stem_stride)
        if theirs != (ours := image_shape(trainer.data)):
            raise UserError(
                f"{checkpoint} was searched with {theirs[0]} classes, {theirs[1]} px and stem"
                f" stride {theirs[2]}, but the config's data have {ours[0]}, {ours[1]} and"
                f" {ours[2]}: give the config of the search's data"
            )

    @property
    def image_macs(self) -> float | None:
        """What its search has spent so far, see ``Spent``; None if it does not say."""
        return self.spent.image_macs if self.spent else None

    @property
    def space(self) -> MnasSpace:
        """Whose networks it judges."""
        return self.supernet.space

    @property
    def identity(self) -> Row:
        """What identifies its scores: weights, data and images."""
        digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()[:16]
        data = short_hash(plain_data(self.trainer.training))
        return {"supernet": digest, "data": data, "images": self.images}

    def evaluate(self, arch: Arch, tuning: int = 0) -> Evaluation:
        """Extract a network, tune it, recalibrate its batch norms on training images, evaluate it.

        Args:
            arch: what to extract.
            tuning: steps that it is trained for, by a search's default optimizer.
        """
        network = self.supernet.extract(arch).to(memory_format=torch.channels_last)
        data = RunData(self.trainer.data, "search", self.seed)
        tune(network, map(_laid_out, data.endless_weights_batches()), WeightOptimizer(), tuning)
        recalibrate(network, (_laid_out(one)[0] for one in data.weights_batches(self.images)))
        return evaluate(network, self.trainer.data.val_dataloader())


def _laid_out(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch[0].contiguous(memory_format=torch.channels_last), batch[1]
