"""RetrainModule: trains one architecture, from scratch unless told otherwise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassAccuracy

from retrain.compiled import compiled_run
from retrain.recipe_module import RecipeModule, StopEarly
from retrain.warm_start import WarmStart
from supernet.cost.counts import count
from supernet.data.run_data import RunData
from supernet.data.splits import Batch
from supernet.errors import check_range
from supernet.run.distributed import first_on_rank_zero, sum_over_ranks
from supernet.run.options import refuse_change
from supernet.training.recipe import PAPER, Recipe
from supernet.training.soft_labels import TaughtImages, soft_labels
from supernet.training.teacher import TeacherSource


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
        teacher: str = "",
        patience: int = 0,
        threshold: float = 0.0,
    ) -> None:
        """Build the network with fresh weights; others replace them when a training starts.

        Args:
            arch: an arch.json that a search wrote, or the name of a published network.
            num_classes: of the data; the architecture's own number gives way.
            resolution: of the data, px; the architecture's own gives way.
            stem_stride: stride of the first convolution; the architecture's own gives way.
            recipe: how it is trained.
            init: what the first weights are: scratch (fresh ones); timm (those that timm has of a
                published network); timm:FILE (such ones of a file); or supernet:FILE (those that
                the search which found ``arch`` shared, from its checkpoint).
            teacher: a network whose answers are learned from besides the labels: a model of timm,
                NAME:FILE with weights of its own, or a retraining's checkpoint.
            patience: validations without a higher accuracy after which training ends; 0 is never.
            threshold: probability below which a test counts an answer as none.

        Raises:
            UserError: when ``arch`` is neither a valid file nor a published name, or has no weights
                such as ``init`` asks for, or a number is out of range.

        Examples:
            >>> import torch
            >>> module = RetrainModule("mnasnet_small", 10, 32, 1)
            >>> module.spec.classes, module(torch.zeros(1, 3, 32, 32)).shape
            (10, torch.Size([1, 10]))
        """
        super().__init__(arch, num_classes, resolution, stem_stride, recipe)
        self.warm_start = WarmStart(init, arch)
        self.teacher, self.patience, self.threshold = teacher, patience, threshold
        check_range("model.", self, "patience", least=0)
        check_range("model.", self, "threshold", least=0, below=1)
        self.network = recipe.make_network(self.spec)
        if not recipe.augmentation.mixes:
            self.metrics = (*self.metrics, "train/accuracy")
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self._weights: Tensor | None = None
        self._answers: np.ndarray | None = None
        self._taught_by = ""
        """Identity of the teacher."""
        self._given: list[Tensor] = []
        """For each test image (B, 2), whether it was answered, and answered right."""
        self._labels: list[Tensor] = []
        """Labels (B,) of the batches that were judged in this epoch."""

    def first_line(self) -> str:
        """The network's size, and which of the architecture's own values gave way."""
        cost = count(self.spec)
        return (
            f"training {self.arch} {self.warm_start.origin}: {cost.params:,} parameters,"
            f" {cost.macs / 1e6:.1f}M MACs at {self.given_by_data()}"
        )

    def setup(self, stage: str) -> None:
        """Weigh the classes, and ask the teacher."""
        super().setup(stage)
        trainer: Any = self.trainer
        data = trainer.datamodule
        if stage != "fit" or not isinstance(data, RunData):
            return
        self._weights = self.recipe.weights_of(data.training_labels, self.spec.classes)
        if self.teacher:
            source, device = TeacherSource(self.teacher), trainer.strategy.root_device
            self._taught_by = source.identity
            self._answers = first_on_rank_zero(trainer, lambda: soft_labels(source, data, device))

    def training_view(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """Training images, augmented, and with the teacher's answers."""
        view = super().training_view(dataset)
        return view if self._answers is None else TaughtImages(view, self._answers)

    @property
    def learned_from(self) -> Sequence[str]:
        """Files of earlier runs, a teacher's too."""
        taught = [self.teacher] if self.teacher.endswith(".ckpt") else []
        return [*super().learned_from, *taught]

    def configure_callbacks(self) -> list[pl.Callback]:
        """What averages the weights, and what ends a training that no longer improves."""
        early = [StopEarly("accuracy", self.patience)] if self.patience else []
        return [*super().configure_callbacks(), *early]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add who taught."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["teacher"] = self._taught_by

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the same teacher.

        Raises:
            UserError: when the checkpoint is of another network, recipe or teacher.
        """
        super().on_load_checkpoint(checkpoint)
        if self._trainer is not None and self._trainer.training:
            saved = checkpoint.get("teacher", "")
            refuse_change("model.teacher", saved or "none", self._taught_by or "none")

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) to logits (B, classes)."""
        # Here and not in a transfer hook, which a user's datamodule may take over.
        images = images.contiguous(memory_format=torch.channels_last)
        compiles = self.compiles and self.training and self.has_steady_norms
        return compiled_run()(self.network, images) if compiles else self.network(images)

    def training_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss of one batch, of which answers are counted where no image is mixed."""
        answers: list[Tensor] = []

        def network(images: Tensor) -> Tensor:
            answers.append(self(images))
            return answers[-1]

        classes = self.spec.classes
        loss = self.recipe.batch_loss(network, batch, classes, self._class_weights())
        if not self.recipe.augmentation.mixes:
            # Of this step alone: what was summed over an epoch would differ where a run goes on.
            right = answers[-1].detach().argmax(1) == batch[1]
            self.log("train/accuracy", right.float().mean())
        return loss

    def _class_weights(self) -> Tensor | None:
        """Weights of the classes on the device of training, if they differ."""
        if self._weights is not None:  # sent once, as sending waits for a GPU
            self._weights = self._weights.to(self.device)
        return self._weights

    def evaluate(self, batch: Batch, split: str) -> Tensor:
        """Loss and accuracy of one batch; its logits (B, classes)."""
        images, labels = batch
        logits = self(images)
        self.accuracy.update(logits, labels)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{split}/loss", loss, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.log(f"{split}/accuracy", self.accuracy, on_epoch=True, prog_bar=True)
        self._labels.append(labels)
        if split == "test" and self.threshold:
            probabilities, answers = logits.softmax(1).max(1)
            given = probabilities >= self.threshold
            self._given.append(torch.stack([given, given & (answers == labels)], 1))
        return logits

    def on_validation_epoch_end(self) -> None:
        """Log what guessing is worth on these images."""
        images, share = self._majority()
        self.log_dict({"val/images": images, "val/majority_share": share}, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Log what guessing is worth on these images, and how many a threshold leaves."""
        images, share = self._majority()
        self.log("test/majority_share", share, sync_dist=True)
        if self.threshold:
            self._log_answered(images)

    def _log_answered(self, images: Tensor) -> None:
        """Share of the images that are answered, and of these the share of right answers."""
        answered, right = sum_over_ranks(torch.cat(self._given).sum(0)).tolist()
        self._given = []
        self.log("test/answered", answered / images, sync_dist=True)
        if answered:
            self.log("test/answered_accuracy", right / answered, sync_dist=True)

    def _majority(self) -> tuple[Tensor, Tensor]:
        """Number of images over all processes, and the share of their most frequent class."""
        labels, self._labels = torch.cat(self._labels), []
        counts = sum_over_ranks(torch.bincount(labels, minlength=self.spec.classes)).float()
        return counts.sum(), counts.max() / counts.sum()
