"""Scores of networks by the shared weights of a search, kept line by line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from search.rank_cache import Cache, Row, commit, short_hash
from search.rank_networks import Candidate
from search.rank_trainings import Trainer, network_hash, plain_data
from supernet.checkpoint import load_supernet
from supernet.errors import UserError
from supernet.network import SuperNet, recalibrate
from supernet.progress import ProgressLines
from supernet.rundata import RunData, image_shape
from supernet.space import MnasSpace
from supernet.standalone import Evaluation, evaluate

KEYS = ("supernet", "data", "images", "network")
"""What identifies a score in the cache."""


class Supernet:
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
        self.supernet: SuperNet = load_supernet(checkpoint).to(memory_format=torch.channels_last)
        theirs = (self.space.classes, self.space.resolution, self.space.stem_stride)
        if theirs != (ours := image_shape(trainer.data)):
            raise UserError(
                f"{checkpoint} was searched with {theirs[0]} classes, {theirs[1]} px and stem"
                f" stride {theirs[2]}, but the config's data have {ours[0]}, {ours[1]} and"
                f" {ours[2]}: give the config of the search's data"
            )

    @property
    def space(self) -> MnasSpace:
        """Whose networks it judges."""
        return self.supernet.space

    def scores(self, candidates: Sequence[Candidate], path: Path) -> list[Row]:
        """Accuracy and loss of each network on the validation split; kept in the file ``path``."""
        cache, shared = Cache(path, KEYS), self._identity()
        rows = [{**shared, "network": network_hash(one.spec)} for one in candidates]
        with ProgressLines() as bar:
            task = bar.add_task("scores", total=len(rows), status=str(self.checkpoint))
            for row, candidate in zip(rows, candidates, strict=True):
                if cache.key(row) not in cache.rows:
                    scored = self.evaluate(candidate)
                    cache.append({**row, "commit": commit(), **scored._asdict()})
                bar.update(task, advance=1)
        return [cache.rows[cache.key(row)] for row in rows]

    def _identity(self) -> Row:
        digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()[:16]
        data = short_hash(plain_data(self.trainer.training))
        return {"supernet": digest, "data": data, "images": self.images}

    def evaluate(self, candidate: Candidate) -> Evaluation:
        """Extract a network, recalibrate its batch norms on training images, and evaluate it."""
        network = self.supernet.extract(candidate.arch).to(memory_format=torch.channels_last)
        batches = RunData(self.trainer.data, "search", seed=0).weights_batches(self.images)
        recalibrate(
            network,
            (images.contiguous(memory_format=torch.channels_last) for images, _ in batches),
        )
        return evaluate(network, self.trainer.data.val_dataloader())


def score_rows(
    supernets: Sequence[Supernet], candidates: Sequence[Candidate], path: Path
) -> dict[str, np.ndarray]:
    """Two scores (N,) of each supernet: accuracy, and the loss with its sign changed."""
    scores = {}
    for number, supernet in enumerate(supernets, 1):
        name = f"supernet {number}" if len(supernets) > 1 else "supernet"
        rows = supernet.scores(candidates, path)
        scores[name] = np.array([row["accuracy"] for row in rows])
        scores[f"{name}, by loss"] = np.array([-row["loss"] for row in rows])
    return scores
