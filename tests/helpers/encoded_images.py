"""Small encoded images, as folders, rows and archives hold them."""

import io
import tarfile
import zlib

import numpy as np
from PIL import Image

NAMES = ("cat", "dog", "owl")


def encoded(name, number, size=(12, 9)):
    """A PNG file that depends on a class and a number."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    stream = io.BytesIO()
    pixels = rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def labelled(count, names=NAMES):
    """Pairs of a file and its label: so many of each class, of all classes in turn."""
    return [(encoded(name, i), label) for i in range(count) for label, name in enumerate(names)]


def write_folder(root, images, names=NAMES):
    """A folder of images for each class."""
    for number, (content, label) in enumerate(images):
        path = root / names[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def contents(data):
    """Splits, classes and contents of the images of a datamodule."""
    return sorted((one.split, one.label, one.digest) for one in data.image_records())


def write_shard(path, images, start=0, extra=None):
    """A shard of pairs of a file and its label; None writes no label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (content, label) in enumerate(images, start):
            told = {} if label is None else {"cls": str(label).encode()}
            for ending, text in {"png": content, **told, **(extra or {})}.items():
                member = tarfile.TarInfo(f"{number:05d}.{ending}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
    return path
