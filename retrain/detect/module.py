"""DetectionModule: trains a network with SSDLite on boxes and measures COCO's average precision."""

import dataclasses
import importlib.util
import itertools
from typing import Any

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor, distributed, nn
from torchmetrics.detection import MeanAveragePrecision

from retrain.detect.digit_boxes import BoxBatch, Boxes
from retrain.detect.ssdlite import Detector, SSDLite, make_detector
from retrain.detect.targets import checked_targets
from retrain.recipe_module import RecipeModule
from retrain.warm_start import WarmStart
from supernet.errors import UserError
from supernet.run.options import refuse_change
from supernet.training.recipe import PAPER, Recipe

FIGURES = ("map", "map_50", "map_75")
"""COCO's average precision over IoU 0.50 to 0.95, at 0.50 and at 0.75, each a mean over classes."""


class AveragePrecision:
    """Collects detections and measures them with pycocotools, as torchmetrics calls it.

    The images of all processes are gathered here: torchmetrics gathers tensor by tensor and needs
    as many images on every process, where ours are dealt so that none is counted twice.

    Raises:
        UserError: when pycocotools is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("pycocotools") is None:
            raise UserError("detection needs `pip install mnasnet-search[detection]`")
        self._seen: list[tuple[Boxes, Boxes]] = []

    def update(self, found: list[Boxes], true: list[Boxes]) -> None:
        """Add images: boxes, labels and scores that were found, and the boxes and labels there."""
        pairs = zip(found, true, strict=True)
        self._seen += move_data_to_device(list(pairs), torch.device("cpu"))

    def compute(self) -> dict[str, Tensor]:
        """``FIGURES`` of all images since the last call, the same on every process."""
        parts, self._seen = [self._seen], []
        if distributed.is_available() and distributed.is_initialized():
            parts = parts * distributed.get_world_size()
            distributed.all_gather_object(parts, parts[0])
        metric = MeanAveragePrecision(backend="pycocotools", sync_on_compute=False)
        found, true = zip(*itertools.chain(*parts), strict=True)
        metric.update(list(found), list(true))
        figures = metric.compute()
        return {name: figures[name] for name in FIGURES}


DETECTION = dataclasses.replace(PAPER, dropout=0.0, label_smoothing=0.0)
"""MnasNet's recipe without what acts on a classifier; the paper does not give its own for COCO."""


class DetectionModule(RecipeModule):
    """A network with SSDLite, trained on boxes by a recipe.

    First weights are for the layers of the network that have become the backbone, without the
    classifier, and without the head convolution where no feature map comes from it.
    """

    metrics = (
        *RecipeModule.metrics,
        "train/class_loss",
        "train/box_loss",
        *(f"val/{name}" for name in FIGURES),
    )
    network: Detector

    def __init__(
        self,
        arch: str,
        num_classes: int,
        resolution: int,
        stem_stride: int,
        ssdlite: SSDLite = SSDLite(),
        recipe: Recipe = DETECTION,
        init: str = "scratch",
    ) -> None:
        """Build the detector.

        Args:
            arch: an arch.json that a search wrote, or the name of a published network.
            num_classes: of the data, without the background.
            resolution: of the data, px; the architecture's own gives way.
            stem_stride: stride of the first convolution; the architecture's own gives way.
            ssdlite: where heads are attached to the network, and what is added to it.
            recipe: how it is trained; without dropout and label smoothing, a classifier's.
            init: what the network's first weights are: scratch (fresh ones); timm (those that timm
                has of a published network); supernet:FILE (those that the search which found
                ``arch`` shared); or a retraining's checkpoint, runs/NAME/checkpoints/best.ckpt.

        Raises:
            UserError: when the architecture, its taps, the recipe or the checkpoint are refused,
                or when pycocotools is missing.
        """
        super().__init__(arch, num_classes, resolution, stem_stride, recipe)
        self.warm_start = WarmStart(init, arch, trained_as=self.spec)
        for name in ("dropout", "label_smoothing"):
            if getattr(recipe, name):
                raise UserError(
                    f"recipe.{name} is {getattr(recipe, name)}, but a detector has no classifier"
                    " that it could act on: set it to 0"
                )
        if recipe.augmentation.active or recipe.class_weights != "none":
            raise UserError(
                "recipe.augmentation and recipe.class_weights are for images of one class each, not"
                " for boxes: leave them out"
            )
        self.ssdlite = ssdlite
        self.network = make_detector(recipe.make_network(self.spec), ssdlite)
        self.average_precision = AveragePrecision()

    def warm_part(self) -> nn.Module:
        """The layers of the backbone that the architecture describes."""
        return self.network.backbone.features

    def first_line(self) -> str:
        """The detector's size, and which of the architecture's own values gave way."""
        params = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"training {self.arch} with SSDLite on {len(self.network.backbone.out_channels)} maps"
            f" {self.warm_start.origin}: {params:,} parameters at {self.given_by_data()}"
        )

    def forward(self, images: list[Tensor]) -> list[Boxes]:
        """Images (3, R, R) to the boxes, labels and scores of each."""
        return self.network(images)

    def training_loss(self, batch: BoxBatch) -> Tensor:
        """SSD's loss of one batch: the classes of the default boxes, and where the boxes lie."""
        images, targets = batch
        targets = checked_targets(targets, self.spec.classes)
        losses = self.network(images, targets)
        self.log("train/class_loss", losses["classification"])
        self.log("train/box_loss", losses["bbox_regression"])
        return losses["classification"] + losses["bbox_regression"]

    def evaluate(self, batch: BoxBatch, split: str) -> None:
        """Detect on one batch."""
        images, targets = batch
        targets = checked_targets(targets, self.spec.classes)
        self.average_precision.update(self(images), targets)

    def on_validation_epoch_end(self) -> None:
        """COCO's average precision of all validation images."""
        self._log_figures("val")

    def on_test_epoch_end(self) -> None:
        """COCO's average precision of all test images."""
        self._log_figures("test")

    def _log_figures(self, split: str) -> None:
        for name, value in self.average_precision.compute().items():
            # A plain number, which Lightning brings to the device: GPUs exchange nothing else.
            self.log(f"{split}/{name}", float(value), prog_bar=name == "map", sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a continued run must share."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["ssdlite"] = dataclasses.asdict(self.ssdlite)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the checkpoint was.

        Raises:
            UserError: when it holds another detector or another recipe.
        """
        if "ssdlite" not in checkpoint:
            raise UserError(
                "the checkpoint is not that of a detector: give a classifier's to --model.init"
            )
        super().on_load_checkpoint(checkpoint)
        for name, value in dataclasses.asdict(self.ssdlite).items():
            refuse_change(f"ssdlite.{name}", checkpoint["ssdlite"].get(name), value)
