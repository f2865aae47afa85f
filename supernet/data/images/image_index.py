"""Index of image files: content, size and whether it can be read, of each, found by all cores.

One pass reads and decodes every file before anything long begins. What it has found is kept for the
next run, which reads only files that are new or changed. No torch.
"""

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageStat

from supernet.command.output import ProgressLines
from supernet.data.images.image_reading import CorruptImageError, ImageReader, ImageStore
from supernet.data.images.index_cache import IndexCache, Stamp
from supernet.errors import one_line

FILES_AT_ONCE = 64
"""Files of one job of a thread."""
SHOW_FROM = 2_000
"""Number of files to read from which on progress is shown."""
SAVE_EVERY = 50_000
"""Number of files read after which a long pass keeps what it has found so far."""


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """Facts of one file: its content, its pixels, and why it cannot be read."""

    path: str
    """Relative to the root of the index, with slashes."""
    num_bytes: int
    digest: str
    """BLAKE2b of the file's bytes, 128 bits in hexadecimal digits; empty for no readable file."""
    width: int = 0
    """In px, as the image is read: turned as its EXIF orientation says."""
    height: int = 0
    num_frames: int = 0
    """2 where there are more than one, of which the first is read."""
    brightness: float = 0.0
    """Mean of the luma, from 0 (black) to 1 (white)."""
    contrast: float = 0.0
    """Standard deviation of the luma in the same unit; 0 for an image of one colour."""
    error: str = ""
    """Why no image can be read from it; empty for a good one."""


def index_images(
    root: Path, paths: Sequence[str], reader: ImageReader | None = None
) -> list[IndexedImage]:
    """Facts of files below a folder, in the order of their paths.

    Args:
        root: the folder; its index is kept under its resolved path.
        paths: of the files, relative to it, with slashes.
        reader: of the images; without one any file is good, and its content alone is read.
    """
    store = reader.store if reader else None
    cache = IndexCache(root, repr(reader), store.stamp if store else None)
    found: dict[str, IndexedImage] = {}
    stamps: dict[str, Stamp] = {}
    for path in dict.fromkeys(paths):
        stamps[path], kept = cache.look_up(path)
        if kept:
            found[path] = IndexedImage(path, *kept)
    new = [path for path in stamps if path not in found]
    try:
        for number, image in enumerate(_read_all(root, new, reader), 1):
            found[image.path] = image
            if not image.error:  # a disk or a Pillow may be better next time
                cache.add(image.path, stamps[image.path], _kept_facts(image))
            if number % SAVE_EVERY == 0:
                cache.save()
    finally:
        cache.save()
    return [found[path] for path in paths]


def _kept_facts(image: IndexedImage) -> tuple[object, ...]:
    return tuple(getattr(image, name) for name in IndexedImage.__slots__[1:-1])


def relative_to(path: str, root: Path) -> str:
    """A path below a folder, relative to it, with slashes; quick, for millions of them."""
    start = f"{root}{os.sep}"
    if path.startswith(start):
        return path[len(start) :].replace(os.sep, "/")
    return Path(path).relative_to(root).as_posix()


def printable(path: str) -> str:
    """A path as one line that every terminal takes, whatever bytes it is made of."""
    return one_line(path.encode("utf-8", "backslashreplace").decode())


def num_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_all(
    root: Path, paths: Sequence[str], reader: ImageReader | None
) -> Iterator[IndexedImage]:
    """Facts of the files, as they are found.

    Threads suffice: Pillow decodes and Python hashes without holding its lock.
    """
    jobs = [paths[i : i + FILES_AT_ONCE] for i in range(0, len(paths), FILES_AT_ONCE)]
    Image.init()  # its formats, which Pillow loads on demand, and two threads must not at once
    pool = ThreadPoolExecutor(num_cores(), thread_name_prefix="index")
    futures: list[Future[list[IndexedImage]]] = [
        pool.submit(lambda job: [_look(root, path, reader) for path in job], job) for job in jobs
    ]
    with ProgressLines(shown=len(paths) >= SHOW_FROM) as bar:
        task = bar.add_task("images", total=len(paths), status="")
        try:
            for future in as_completed(futures):
                yield from future.result()
                bar.update(task, advance=len(future.result()))
        finally:
            pool.shutdown(cancel_futures=True)


def _content(root: Path, path: str) -> IndexedImage:
    """Size and digest of a file; a failing disk is its error."""
    try:
        with (root / path).open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return IndexedImage(path, 0, "", error="not a regular file")
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            return IndexedImage(path, status.st_size, digest.hexdigest())
    except OSError as error:
        return IndexedImage(path, 0, "", error=one_line(error.strerror or error))


def _stored_content(root: Path, path: str, store: ImageStore) -> IndexedImage:
    """Size and digest of an image that is no file."""
    try:
        content = store.content(str(root / path))
    except (OSError, ValueError) as error:
        return IndexedImage(path, 0, "", error=one_line(error) or type(error).__name__)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return IndexedImage(path, len(content), digest)


def _look(root: Path, path: str, reader: ImageReader | None) -> IndexedImage:
    """Facts of a file, with a reader those of the image in it, wholly decoded."""
    store = reader.store if reader else None
    content = _stored_content(root, path, store) if store else _content(root, path)
    if content.error or not reader:
        return content
    file = str(root / path)
    try:
        image, num_frames = reader.read(file), reader.num_frames(file)
    except CorruptImageError as error:
        reason = one_line(error.__cause__).replace(f" {file!r}", "")
        return dataclasses.replace(content, error=reason or type(error.__cause__).__name__)
    except MemoryError:
        return dataclasses.replace(content, error="too large for the memory")
    luma = ImageStat.Stat(image.convert("L"))
    return dataclasses.replace(
        content,
        width=image.width,
        height=image.height,
        num_frames=num_frames,
        brightness=luma.mean[0] / 255,
        contrast=luma.stddev[0] / 255,
    )
