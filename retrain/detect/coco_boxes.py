"""CocoBoxes: your own images with boxes, in COCO's layout."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from retrain.detect.coco_json import SHOWN, CocoFile, CocoImage, read_coco
from retrain.detect.digit_boxes import BoxedImage, as_lists
from supernet.data.content_split import REST, DealtImages, deal_images
from supernet.data.folder_images import OnBadImage, bad_images_line
from supernet.data.images.image_index import IndexedImage, index_images
from supernet.data.images.image_reading import ImageReader
from supernet.data.records import ImageRecord
from supernet.data.splits import default_stem_stride, split_loader
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError, check_choice, check_range

SPLIT = "{split}"
"""Placeholder of a split's name in ``images`` and ``annotations``."""


class CocoBoxes(pl.LightningDataModule):
    """Your own images with boxes: folders of images and COCO's json files of instances.

    By default the folder is laid out as COCO's own: ``root/train2017/*.jpg`` with
    ``root/annotations/instances_train2017.json``, and the same of ``val2017``. Test images, of
    which COCO publishes no boxes, are dealt from the training images by their content; so are
    validation images where all is in one file. An image is padded to a square at the right and the
    bottom and resized; training crops and flips it (SSD, sec. 2.2). Boxes of crowds are left out.

    Args:
        root: the folder.
        annotations: path in it of the json file, with {split} where each split has its own.
        images: path in it of the images' folder, with {split} where each split has its own.
        train: name of the training split.
        val: name of the validation split; none deals it from the training images.
        test: name of the test split; none deals it from the training images.
        resolution: width and height in px, at least 48.
        batch_size: images per batch and process.
        num_workers: worker processes that read and augment images.
        val_share: chance of a training image to be for validation, where ``val`` is none.
        test_share: chance of a training image to be for testing, where ``test`` is none.
        split_seed: seed of the dealing.
        mean: of the red, green and blue channel between 0 and 1; ImageNet's by default.
        std: standard deviation of the channels; ImageNet's by default.
        background: red, green and blue from 0 to 255 under transparent pixels and beside images.
        on_bad_image: whether images that cannot be read or have other sizes than the json file
            says, and boxes that describe nothing, are refused or skipped.
        crop: whether training crops images so that some boxes stay within.
        flip: probability of a mirror image in training; 0 where left and right differ in meaning.

    Raises:
        UserError: naming the value, the file, or the entry that is wrong.
    """

    may_change = ("root", "on_bad_image")

    def __init__(
        self,
        root: str,
        annotations: str = "annotations/instances_{split}.json",
        images: str = "{split}",
        train: str = "train2017",
        val: str = "val2017",
        test: str = "none",
        resolution: int = 320,
        batch_size: int = 32,
        num_workers: int = 2,
        val_share: float = 0.1,
        test_share: float = 0.1,
        split_seed: int = 0,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        background: tuple[int, int, int] = (124, 116, 104),
        on_bad_image: OnBadImage = "error",
        crop: bool = True,
        flip: float = 0.5,
    ) -> None:
        super().__init__()
        self.root, self.annotations, self.images = Path(root), annotations, images
        self.resolution, self.batch_size, self.num_workers = resolution, batch_size, num_workers
        self.stem_stride = default_stem_stride(resolution)
        self.mean, self.std, self.split_seed = mean, std, split_seed
        self.reader = ImageReader(background)
        self.on_bad_image, self.crop, self.flip = on_bad_image, crop, flip
        self.val_share, self.test_share = val_share, test_share
        check_range("", self, "resolution", least=48)
        check_range("", self, "batch_size", least=1)
        check_range("", self, "num_workers", "split_seed", least=0)
        check_range("", self, "val_share", "test_share", above=0, below=0.5)
        check_range("", self, "std", above=0)
        check_range("", self, "flip", least=0, most=1)
        check_choice("on_bad_image", on_bad_image, get_args(OnBadImage))
        named = {"train": train, "val": val, "test": test}
        if SPLIT not in annotations:
            named = {"train": train}
        self._names = {split: name for split, name in named.items() if name != "none"}
        shares = {"val": val_share, "test": test_share}
        self._shares = {one: share for one, share in shares.items() if one not in self._names}
        self.files = self._read_files()
        self.classes = self.files["train"].classes
        self.num_classes = len(self.classes)

    def _read_files(self) -> dict[str, CocoFile]:
        """The json file of each split that has one."""
        files = {}
        for split, name in self._names.items():
            path = self.root / self.annotations.replace(SPLIT, name)
            files[split] = read_coco(path)
            if files[split].classes != files["train"].classes:
                raise UserError(
                    f"{path} has other categories than those of {self._names['train']}: number them"
                    " alike in all files"
                )
            self._refuse_bad_boxes(path, files[split])
        return files

    def _refuse_bad_boxes(self, path: Path, file: CocoFile) -> None:
        if file.bad_boxes and self.on_bad_image == "error":
            more = len(file.bad_boxes) - SHOWN
            named = "; ".join(file.bad_boxes[:SHOWN]) + (f" and {more:,} more" * (more > 0))
            raise UserError(
                f"{len(file.bad_boxes):,} of {file.num_boxes:,} boxes of {path} are no x, y, width"
                f" and height within their image: {named}; mend them, or go on without them:"
                " --data.on_bad_image skip"
            )

    def prepare_data(self) -> None:
        """Read every image once, on one process of each machine; others find what it has found.

        Raises:
            UserError: naming all that cannot be read, or a split without images.
        """
        _ = self.dealt

    @cached_property
    def index(self) -> list[IndexedImage]:
        """Every image, read once; one that its json file gives another size has an error."""
        told = {
            self._path(split, one): one for split in self.files for one in self.files[split].images
        }
        index = index_images(self.root, list(told), self.reader)
        return [_checked(one, told[one.path]) for one in index]

    def _path(self, split: str, image: CocoImage) -> str:
        """Path of an image, relative to the root."""
        return (Path(self.images.replace(SPLIT, self._names[split])) / image.path).as_posix()

    @cached_property
    def dealt(self) -> DealtImages:
        """The images of each split."""
        bad = [image for image in self.index if image.error]
        if bad and self.on_bad_image == "error":
            others = ", or go on without them: --data.on_bad_image skip"
            raise UserError(f"{bad_images_line(bad, len(self.index))}; mend them{others}")
        digests = {image.path: image.digest for image in self.index if not image.error}
        files = {
            split: [(self._path(split, image), -1) for image in file.images]
            for split, file in self.files.items()
        }
        dealt = deal_images(files, digests, self._shares, self.split_seed)
        for split in (REST, "val", "test"):
            if not dealt.records[split]:
                raise UserError(
                    f"none of {len(digests):,} images of {self.root} is for {split}: add images,"
                    " name a split of its own, or give another val_share, test_share or split_seed"
                )
        return dealt

    @property
    def description(self) -> DataDescription:
        """Class names, and how a square image becomes an input."""
        side, ground = self.resolution, self.reader.background
        steps = Preprocessing(side, side, "bilinear", self.mean, self.std, ground)
        return DataDescription(self.classes, preprocessing=steps)

    @property
    def dealt_splits(self) -> Collection[str]:
        """Splits whose images are told by their content, as no file says them."""
        return self._shares.keys()

    @property
    def notes(self) -> Sequence[str]:
        """What is left out, and why."""
        files = self.files.values()
        counts = {
            "boxes of crowds left out": sum(file.num_crowds for file in files),
            "faulty boxes skipped": sum(len(file.bad_boxes) for file in files),
            "images without boxes": sum(not one.boxes for file in files for one in file.images),
        }
        bad = [image for image in self.index if image.error]
        skipped = [f"{bad_images_line(bad, len(self.index))}: skipped"] if bad else []
        told = [f"{number:,} {what}" for what, number in counts.items() if number]
        return [*told, *self.dealt.notes(()), *skipped]

    def image_records(self) -> list[ImageRecord]:
        """Where each image lies, in which split it is, its content, and its boxes."""
        boxes = {
            self._path(split, image): image.digest()
            for split, file in self.files.items()
            for image in file.images
        }
        used = [record for records in self.dealt.records.values() for record in records]
        told = [dataclasses.replace(record, boxes=boxes[record.path]) for record in used]
        return told + self.dealt.left_out

    def _images(self, split: str, augment: bool = False) -> Dataset[BoxedImage]:
        source = split if split in self.files else "train"
        known = {self._path(source, image): image for image in self.files[source].images}
        images = {record.path: known[record.path] for record in self.dealt.records[split]}
        augmented = [v2.RandomIoUCrop()] if self.crop else []
        steps: list[nn.Module] = [*augmented, v2.RandomHorizontalFlip(self.flip)] if augment else []
        # What is trained on, not what there is to find: crops leave slivers of boxes.
        sound = [v2.SanitizeBoundingBoxes()] if augment else []
        ground = list(self.reader.background)
        transform = v2.Compose(
            [
                *steps,
                _Square(ground),
                v2.Resize([self.resolution] * 2),
                v2.ClampBoundingBoxes(),  # a rounding puts edges beyond the image
                *sound,
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(self.mean), list(self.std)),
            ]
        )
        return BoxedFiles(self.root, images, self.reader, transform)

    def _loader(self, split: str) -> DataLoader[BoxedImage]:
        train = split == REST
        images = self._images(split, augment=train)
        return split_loader(images, self.batch_size, self.num_workers, train, as_lists)

    def train_dataloader(self) -> DataLoader[BoxedImage]:
        """The images to train on, augmented."""
        return self._loader(REST)

    def val_dataloader(self) -> DataLoader[BoxedImage]:
        """The images that choose the checkpoint."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[BoxedImage]:
        """The images that are read once, at the end."""
        return self._loader("test")


def _checked(image: IndexedImage, told: CocoImage) -> IndexedImage:
    """An image whose size is what its json file says, or which has an error."""
    if image.error or (image.width, image.height) == (told.width, told.height):
        return image
    error = f"{image.width}x{image.height} px, its json file says {told.width}x{told.height}"
    return dataclasses.replace(image, error=error)


class _Square(nn.Module):
    """Pads images to squares at the right and the bottom, where boxes stay what they are."""

    def __init__(self, ground: list[int]) -> None:
        super().__init__()
        self.ground = ground

    def forward(self, image: Any, target: Any) -> tuple[Any, Any]:
        """An image with its boxes, whose canvas grows."""
        height, width = functional.get_size(image)
        edges = [0, 0, max(height, width) - width, max(height, width) - height]
        padded = functional.pad(image, edges, fill=self.ground)
        return padded, {**target, "boxes": functional.pad(target["boxes"], edges)}


class BoxedFiles(Dataset[BoxedImage]):
    """Image files with their boxes, opened when asked for.

    Args:
        root: of the files.
        images: what is known of each, by its path.
        reader: of the files.
        transform: of an image and its boxes and labels; gives (3, R, R).
    """

    def __init__(
        self,
        root: Path,
        images: Mapping[str, CocoImage],
        reader: ImageReader,
        transform: v2.Compose,
    ) -> None:
        self.root, self.reader, self.transform = root, reader, transform
        self.images = list(images.items())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> BoxedImage:
        path, told = self.images[index]
        boxes = torch.tensor(told.boxes).reshape(-1, 4)
        canvas = (told.height, told.width)
        labels = torch.tensor(told.labels, dtype=torch.int64)
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=canvas),
            "labels": labels,
        }
        image, target = self.transform(self.reader.read(str(self.root / path)), target)
        return image, {
            "boxes": target["boxes"].as_subclass(torch.Tensor),
            "labels": target["labels"],
        }
