"""RetrainModule: trains one architecture, from scratch unless told otherwise."""

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from retrain.recipe_module import RecipeModule
from retrain.warm_start import WarmStart
from supernet.cost.counts import count
from supernet.data.splits import Batch
from supernet.run.distributed import sum_over_ranks
from supernet.training.recipe import PAPER, Recipe


class RetrainModule(RecipeModule):
    """One network, trained by a recipe."""

    metrics = (
        *RecipeModule.metrics,
        "val/loss",
        "val/accuracy",
        "val/images",
        "val/majority_share",
    )

    def __init__(
        self,
        arch: str,
        num_classes: int,
        resolution: int,
        stem_stride: int,
        recipe: Recipe = PAPER,
        init: str = "scratch",
    ) -> None:
        """Build the network with fresh weights; others replace them when a training starts.

        Args:
            arch: an arch.json that a search wrote, or the name of a published network.
            num_classes: of the data; the architecture's own number gives way.
            resolution: of the data, px; the architecture's own gives way.
            stem_stride: stride of the first convolution; the architecture's own gives way.
            recipe: how it is trained.
            init: what the first weights are: scratch (fresh ones); timm (those that timm has of a
                published network); or supernet:FILE (those that the search which found ``arch``
                shared, from its checkpoint).

        Raises:
            UserError: when ``arch`` is neither a valid file nor a published name, or has no weights
                such as ``init`` asks for.
        """
        super().__init__(arch, num_classes, resolution, stem_stride, recipe)
        self.warm_start = WarmStart(init, arch)
        self.network = recipe.make_network(self.spec)
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self._labels: list[Tensor] = []
        """Labels (B,) of the batches that were judged in this epoch."""

    def first_line(self) -> str:
        """The network's size, and which of the architecture's own values gave way."""
        cost = count(self.spec)
        return (
            f"training {self.arch} {self.warm_start.origin}: {cost.params:,} parameters,"
            f" {cost.macs / 1e6:.1f}M MACs at {self.given_by_data()}"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) to logits (B, classes)."""
        # Here and not in a transfer hook, which a user's datamodule may take over.
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def training_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss of one batch."""
        images, labels = batch
        return self.recipe.loss(self(images), labels)

    def evaluate(self, batch: Batch, split: str) -> None:
        """Loss and accuracy of one batch."""
        images, labels = batch
        logits = self(images)
        self.accuracy.update(logits, labels)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{split}/loss", loss, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.log(f"{split}/accuracy", self.accuracy, on_epoch=True, prog_bar=True)
        self._labels.append(labels)

    def on_validation_epoch_end(self) -> None:
        """Log what guessing is worth on these images."""
        images, share = self._majority()
        self.log_dict({"val/images": images, "val/majority_share": share}, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Log what guessing is worth on these images."""
        _, share = self._majority()
        self.log("test/majority_share", share, sync_dist=True)

    def _majority(self) -> tuple[Tensor, Tensor]:
        """Number of images over all processes, and the share of their most frequent class."""
        labels, self._labels = torch.cat(self._labels), []
        counts = sum_over_ranks(torch.bincount(labels, minlength=self.spec.classes)).float()
        return counts.sum(), counts.max() / counts.sum()
