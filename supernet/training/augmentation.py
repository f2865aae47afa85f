"""Augmentation: how a training changes its images, by timm's own transforms.

It comes on top of what a data set does by itself, such as ``ImageFolder``'s crops and flips. Each
image is changed by its own seed alone, so that a resumed run and any number of ranks see the same;
pairs are mixed in the step, by timm's Mixup: averaged, or with a rectangle of the other one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from pytorch_lightning.utilities.seed import isolate_rng
from timm.data.auto_augment import posterize, rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from supernet.data.pixels import is_pixels, normalised
from supernet.data.resumable import SeededDataset, seed_generators
from supernet.data.splits import num_images
from supernet.data_description import Preprocessing
from supernet.errors import UserError, check_choice, check_range, one_line

Preset = Literal["none", "light", "strong"]
OFF: dict[str, Any] = {
    "flip": 0.0,
    "vertical_flip": 0.0,
    "rotation": 0.0,
    "randaugment": "",
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {"randaugment": "rand-m5-n1-mstd0.5-inc1"},
    "strong": {
        "randaugment": "rand-m9-n2-mstd0.5-inc1",
        "erasing": 0.25,
        "mixup": 0.2,
        "cutmix": 1.0,
    },
}
"""What each preset switches on. The strong one is RandAugment and erasing as DeiT has them (Touvron
et al. 2021, table 9) and the milder mixing of Wightman et al. 2021 (table 2), as small networks
have little capacity to spare; both are starting points, not measured here."""
OTHER_SEED = 0x9E3779B9
"""Keeps the draws of an augmentation apart from those of the data set, whose seed is the same."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images besides what their data set does by itself.

    Raises:
        UserError: naming the value that is out of range.

    Examples:
        >>> Augmentation(preset="light").words
        'randaugment rand-m5-n1-mstd0.5-inc1'
        >>> Augmentation(preset="light", mixup=0.2).active
        {'randaugment': 'rand-m5-n1-mstd0.5-inc1', 'mixup': 0.2}
    """

    preset: Preset = "none"
    """What the settings below are where they are not given: none, light (mild RandAugment) or
    strong (RandAugment, erasing, mixup and cutmix)."""
    randaugment: str | None = None
    """RandAugment in timm's notation, such as rand-m9-n2-mstd0.5-inc1; an empty one is off."""
    flip: float | None = None
    """Probability of a mirror image; ImageFolder has its own."""
    vertical_flip: float | None = None
    """Probability of an image turned upside down."""
    rotation: float | None = None
    """Largest angle by which an image is turned, in degrees."""
    erasing: float | None = None
    """Probability of a rectangle of noise, of 2 to 33 % of the area."""
    mixup: float | None = None
    """Parameter of the beta distribution by which two images are averaged; 0 is off."""
    cutmix: float | None = None
    """Parameter of that of the area that one image gets of another; 0 is off. Where both mixings
    are on, each has half of the steps."""

    def __post_init__(self) -> None:
        place = "recipe.augmentation."
        check_choice(f"{place}preset", self.preset, get_args(Preset))
        check_range(place, self, "flip", "vertical_flip", "erasing", least=0, most=1)
        check_range(place, self, "rotation", least=0, most=180)
        check_range(place, self, "mixup", "cutmix", least=0, most=100)
        if self.randaugment:
            _rand_augment(self.randaugment, Preprocessing(8, 8, "bicubic", (0.5,) * 3, (1.0,) * 3))

    @property
    def values(self) -> dict[str, Any]:
        """All settings but the preset, filled in from it."""
        given = {name: getattr(self, name) for name in OFF}
        chosen = {name: value for name, value in given.items() if value is not None}
        return {**OFF, **PRESETS[self.preset], **chosen}

    @property
    def active(self) -> dict[str, Any]:
        """What is on, whatever preset says so."""
        return {name: value for name, value in self.values.items() if value}

    @property
    def words(self) -> str:
        """What is on, for a person; empty where nothing is."""
        return ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in self.active.items())

    @property
    def mixes(self) -> bool:
        """Whether pairs of images are mixed."""
        return bool(self.values["mixup"] or self.values["cutmix"])

    def of_images(self, dataset: Dataset[Any], told: Preprocessing | None) -> Dataset[Any]:
        """A data set of images (3, R, R) that are changed when they are drawn.

        ``told`` is how they were normalised; the data set itself where nothing changes single
        images.

        Raises:
            UserError: when that is unknown, but pixels are needed.
        """
        changes = self._of_pixels(told)
        if erasing := self.values["erasing"]:
            changes.append(Erasing(erasing, told))
        return AugmentedImages(dataset, changes) if changes else dataset

    def _of_pixels(self, told: Preprocessing | None) -> list[Callable[[Any], Any]]:
        """What happens to pixels."""
        on = {name: value for name, value in self.active.items() if name in PIXEL_CHANGES}
        if on and told is None:
            name, value = next(iter(on.items()))
            raise UserError(
                f"recipe.augmentation.{name} is {value}, but the datamodule does not tell how its"
                " images are normalised: give it a description with preprocessing (docs/data.md),"
                " or leave this out"
            )
        if not on or told is None:
            return []
        return [
            PixelChanges(told, [PIXEL_CHANGES[name](value, told) for name, value in on.items()])
        ]


def _rand_augment(notation: str, told: Preprocessing) -> Callable[[Any], Any]:
    """Timm's RandAugment, set up as timm's ``create_transform`` does.

    Raises:
        UserError: when timm does not understand the notation.
    """
    settings = {"translate_const": int(0.45 * told.crop), "img_mean": tuple(_fill(told))}
    try:
        # timm passes over a part without a number.
        known = re.fullmatch(r"rand(-((mstd|mmax|inc|[mnp])[\d.]+|t\w+))*", notation)
        assert known, "parts are m, n, p, mstd, mmax and inc with a number"
        transform = rand_augment_transform(notation, settings)
    except (AssertionError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"recipe.augmentation.randaugment is {notation!r}, which timm does not understand"
            f" ({one_line(error) or type(error).__name__}): give one such as"
            " rand-m9-n2-mstd0.5-inc1"
        ) from None
    for op in transform.ops:
        # At its strongest timm asks for no bit, which Pillow refuses.
        if op.aug_fn is posterize:
            op.aug_fn = _posterize
    return transform


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """The image with so many bits of each channel, at least one."""
    return ImageOps.posterize(image, max(1, bits))


def _rotation(degrees: float, told: Preprocessing) -> Callable[[Any], Any]:
    return v2.RandomRotation(degrees, v2.InterpolationMode.BILINEAR, fill=_fill(told))


def _fill(told: Preprocessing) -> list[int]:
    """Colour of what enters an image from outside: the mean."""
    return [round(255 * channel) for channel in told.mean]


PIXEL_CHANGES: dict[str, Callable[[Any, Preprocessing], Callable[[Any], Any]]] = {
    "flip": lambda probability, _: v2.RandomHorizontalFlip(probability),
    "vertical_flip": lambda probability, _: v2.RandomVerticalFlip(probability),
    "rotation": _rotation,
    "randaugment": _rand_augment,
}
"""Changes of PIL images, in the order in which they are made."""


class Pixels:
    """Pixels of images, of eight bits each, and back to what the images were."""

    def __init__(self, told: Preprocessing) -> None:
        self._mean, self._std = (
            torch.tensor(values).view(3, 1, 1) for values in (told.mean, told.std)
        )

    def read(self, image: Tensor) -> Any:
        """A PIL image of pixels or of a normalised image (3, R, R); exact if it is of pixels."""
        if not is_pixels(image):
            image = (image * self._std + self._mean).mul(255).round().clamp(0, 255).byte()
        return v2.functional.to_pil_image(image)

    def normalised(self, picture: Any) -> Tensor:
        """The normalised image (3, R, R) of a PIL image."""
        return (v2.functional.pil_to_tensor(picture) / 255 - self._mean) / self._std


class PixelChanges:
    """Changes of PIL images, of images (3, R, R) that stay normalised or pixels as they are."""

    def __init__(self, told: Preprocessing, changes: Sequence[Callable[[Any], Any]]) -> None:
        self.pixels, self.changes = Pixels(told), changes

    def __call__(self, image: Tensor) -> Tensor:
        """The image, changed by the global generators of torch, NumPy and Python."""
        picture = self.pixels.read(image)
        for change in self.changes:
            picture = change(picture)
        if is_pixels(image):
            return v2.functional.pil_to_tensor(picture)
        return self.pixels.normalised(picture)


class Erasing:
    """Rectangles of noise in normalised images (3, R, R), to which pixels are made first."""

    def __init__(self, probability: float, told: Preprocessing | None) -> None:
        self.told = told
        self._erase = RandomErasing(probability, mode="pixel", device="cpu")

    def __call__(self, image: Tensor) -> Tensor:
        """The image, with a rectangle of noise or as it was."""
        if self.told and is_pixels(image):
            image = normalised(image, self.told)
        erased: Tensor = self._erase(image)
        return erased


class AugmentedImages(Dataset[Any]):
    """Samples (image, ...) of a data set with the image changed, each by its own seed alone."""

    def __init__(self, dataset: Dataset[Any], changes: Sequence[Callable[[Any], Any]]) -> None:
        self.dataset, self.changes = dataset, changes

    def __len__(self) -> int:
        return num_images(self.dataset)

    def seeded_items(self, indices: list[int], seeds: list[int]) -> list[Any]:
        """A batch of samples; timm draws from the generators of NumPy, Python and torch."""
        drawn = SeededDataset(self.dataset).__getitems__(list(zip(indices, seeds, strict=True)))
        with isolate_rng(include_cuda=False):
            return [
                # A copy, as timm erases in place what the data set may still hold.
                (self._changed(image.clone(), seed), *others)
                for (image, *others), seed in zip(drawn, seeds, strict=True)
            ]

    def _changed(self, image: Any, seed: int) -> Any:
        seed_generators(seed ^ OTHER_SEED)
        for change in self.changes:
            image = change(image)
        return image


def mixed(augmentation: Augmentation, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, R, R) mixed with those of the same batch, and targets (B, N) as they were.

    Draws follow torch's global generator, which a run seeds for each step and rank. Any N numbers
    of an image can be its target: all are mixed in the same way.

    Raises:
        UserError: when the number of images is odd.
    """
    if len(images) % 2:
        raise UserError(
            f"a batch has {len(images)} images, which mixup and cutmix cannot pair: give an even"
            " data.init_args.batch_size, or set both to 0"
        )
    mix = Mixup(
        augmentation.values["mixup"],
        augmentation.values["cutmix"],
        label_smoothing=0.0,  # the loss has its own
        num_classes=targets.shape[1],
        multi_label=True,  # targets are no numbers of classes
    )
    seed = int(torch.randint(2**32, ()))
    with isolate_rng(include_cuda=False):
        np.random.seed(seed)  # noqa: NPY002 - timm draws from the global generator
        # In place, timm's way, would change the batch that callbacks see.
        return mix(images.clone(), targets)
