"""ImageFolder: your own images, one folder for each class."""

from typing import Any

from supernet.data.images.folder_layout import read_layout
from supernet.data.stored_images import StoredImages


class ImageFolder(StoredImages):
    """Your own images, one folder per class: ``root/CLASS/*.jpg`` or ``root/train/CLASS/*.jpg``.

    With a folder ``train``, beside it at most one for validation and one for testing by their usual
    names, the splits that are missing are split off ``train``; for ImageNet, name its validation
    folder ``test``, as the literature does. Without it, everything is split; what is nearly one of
    these layouts is refused. An image's split depends on the seed and its content alone, so that
    adding, renaming or removing images moves no other one, and copies stand in one split; an image
    of ``train`` with a copy in another folder is left out. All are read once before a run begins.

    Images have any size and mode; training crops (area 8 to 100 %, aspect 3/4 to 4/3) and flips
    them (Inception's preprocessing, which MnasNet, sec. 5, uses), unless told otherwise; evaluation
    takes the central square of ``crop_pct`` of the shorter side.

    Args:
        root: the folder; hidden files and folders in it are ignored.
        settings: those of all images that are stored (``StoredImages``).

    Raises:
        UserError: if a value is out of range, if ``root`` is missing, is only nearly such a folder
            or holds a class without images or, once images are asked for, too few of a class.

    Examples:
        >>> data = ImageFolder("photos", resolution=32, batch_size=4, num_workers=0)
        >>> data.setup("fit")
        >>> data.classes
        ('cats', 'dogs')
        >>> images, labels = next(iter(data.val_dataloader()))
        >>> images.shape[1:]
        torch.Size([3, 32, 32])
    """

    may_change = ("root", "on_bad_image")

    def __init__(self, root: str, **settings: Any) -> None:
        super().__init__(read_layout(root), None, **settings)
