"""DataDescription: what a network must know of its data to be used on other images. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import has_control

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes a network's input, without augmentation.

    The first frame is turned as its EXIF orientation says, laid on the background, made RGB,
    resized, cropped at the centre, divided by 255, normalised by channel and laid out (3, R, R).

    Raises:
        UserError: for a value that no image could be prepared by.

    Examples:
        >>> told = Preprocessing(256, 224, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        >>> told.background
        (255, 255, 255)
    """

    resize: int
    """Shorter side after resizing, px."""
    crop: int
    """Side R of the central square that is kept, px."""
    interpolation: str
    """Pillow's name of the filter, in lower case."""
    mean: tuple[float, float, float]
    """Mean of the red, green and blue channel between 0 and 1."""
    std: tuple[float, float, float]
    """Standard deviation of the channels."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour under transparent pixels, each channel from 0 to 255."""

    def __post_init__(self) -> None:
        """Refuse what no image could be prepared by."""
        check_range("preprocessing.", self, "crop", "resize", least=1)
        check_range("preprocessing.", self, "crop", most=self.resize)
        check_range("preprocessing.", self, "mean")
        check_range("preprocessing.", self, "std", above=0)
        check_range("preprocessing.", self, "background", least=0, most=255)
        check_choice("preprocessing.interpolation", self.interpolation, INTERPOLATIONS)


@dataclass(frozen=True)
class DataDescription:
    """Class names and preprocessing of a data set, and the digest by which it is known.

    Raises:
        UserError: when two classes have one name, or one has a name that no file can hold.

    Examples:
        >>> DataDescription(("cat", "dog")).classes
        ('cat', 'dog')
    """

    classes: tuple[str, ...]
    """Names in the order of the network's outputs."""
    digest: str = ""
    """Hash over paths, labels, splits and content; empty where the data keep no record."""
    preprocessing: Preprocessing | None = None
    """None where images are no files, or are prepared by a datamodule's own code."""

    def __post_init__(self) -> None:
        """Refuse names that do not tell the classes apart."""
        twice = [name for name, number in Counter(self.classes).items() if number > 1]
        if twice:
            raise UserError(f"data.classes has {twice[0]!r} twice: give each class its own name")
        for name in self.classes:
            if has_control(name):
                raise UserError(
                    f"data.classes has {name!r} with a control character: rename the class"
                )

    @property
    def is_numbered(self) -> bool:
        """Whether classes have numbers for names because the datamodule tells none."""
        numbers = tuple(map(str, range(len(self.classes))))
        return self.preprocessing is None and self.classes == numbers

    @staticmethod
    def of_classes(num_classes: int) -> DataDescription:
        """Description of data that say nothing of themselves but their number of classes."""
        return DataDescription(tuple(map(str, range(num_classes))))
