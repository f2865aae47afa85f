"""RetrainModule: trains one architecture, from scratch unless told otherwise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from retrain.recipe_module import RecipeModule, place
from retrain.warm_start import WarmStart
from supernet.command.output import say
from supernet.cost.counts import count
from supernet.data.splits import Batch
from supernet.space.spec import NetSpec
from supernet.training.recipe import PAPER, Recipe


class RetrainModule(RecipeModule):
    """One network, trained by a recipe."""

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
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def setup(self, stage: str) -> None:
        """Say what is trained, and what the data changed in it."""
        if stage == "fit":
            say(describe(self.arch, self.found, self.spec, self.warm_start.origin))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) to logits (B, classes)."""
        # Here and not in a transfer hook, which a user's datamodule may take over.
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def training_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss of one batch."""
        images, labels = batch
        return self.recipe.loss(self(images), labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one validation batch."""
        self._evaluate(batch, "val", self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one test batch."""
        self._evaluate(batch, "test", self.test_accuracy)
        images = float(len(batch[1]))
        self.log("test/images", images, on_epoch=True, reduce_fx="sum", sync_dist=True)

    def _evaluate(self, batch: Batch, part: str, accuracy: MulticlassAccuracy) -> None:
        images, labels = batch
        logits = self(images)
        accuracy.update(logits, labels)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{part}/loss", loss, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.log(f"{part}/accuracy", accuracy, on_epoch=True, prog_bar=True)


def describe(arch: str, found: NetSpec, spec: NetSpec, origin: str = "from scratch") -> str:
    """One line: the network's size, and which of the architecture's own values gave way."""
    cost = count(spec)
    return (
        f"training {arch} {origin}: {cost.params:,} parameters, {cost.macs / 1e6:.1f}M MACs at"
        f" {place(arch, found, spec)}"
    )
