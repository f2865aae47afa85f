"""Shards: tar archives of samples, as WebDataset has them, indexed once and read at any place.

A sample is the members whose names are alike up to the first dot: ``000017.jpg`` and
``000017.cls``. An index of where each image lies makes a stream as good as files: any image can be
read alone, so that order, shares of processes and a resume are as exact. What was found of a shard
is kept by its stamp in the user's cache.
"""

import hashlib
import json
import re
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from supernet.data.images.image_reading import image_suffixes
from supernet.data.images.index_cache import NO_FILE, Stamp, cache_folder, file_stamp
from supernet.errors import UserError, one_line
from supernet.files.writing import write_atomic

VERSION = 1
"""Raised whenever shards are indexed otherwise."""
LONGEST = 1_000
"""Bytes of a label, and of the name of a member, at most."""
_META = re.compile(r"__[^/]*__($|/)")
"""Names that the WebDataset library keeps for itself."""


@dataclass(frozen=True)
class Keys:
    """Members of a sample that are read, by what follows the first dot of their names."""

    image: str
    """Such as ``jpg``, or several with semicolons; empty for any suffix of an image."""
    label: str


@dataclass(frozen=True)
class Shard:
    """Images of one archive, sorted by name."""

    names: np.ndarray
    """Names of their members (N,), in bytes."""
    spans: np.ndarray
    """Place and size of their bytes in the archive (N, 2)."""
    labels: np.ndarray
    """What their samples say of their classes (N,), in bytes; empty where they do not."""
    num_without: np.ndarray
    """Number of samples without an image, ()."""

    def span(self, name: str) -> tuple[int, int]:
        """Place and size of an image's bytes; raises ValueError where there is none."""
        wanted = _encoded(name)
        place = np.searchsorted(self.names, wanted)
        if place == len(self.names) or self.names[place] != wanted:
            raise ValueError("its shard has no such member")
        offset, size = self.spans[place].tolist()
        return offset, size


class StoredShards:
    """Images in shards, each under the path ``ROOT/SHARD/MEMBER``.

    Args:
        root: folder of the shards.
        shards: paths of the shards below it.
        keys: members of a sample that are read.

    Raises:
        UserError: naming a shard that cannot be read, or a sample that is ambiguous.
    """

    def __init__(self, root: Path, shards: Sequence[str], keys: Keys) -> None:
        self.root = root
        self._stamps = {shard: file_stamp(str(root / shard)) for shard in shards}
        self.shards = {
            shard: _kept_or_indexed(root / shard, stamp, keys)
            for shard, stamp in self._stamps.items()
        }

    def located(self, path: str) -> tuple[str, str]:
        """The shard of an image, below the root, and its member there."""
        shard, _, name = path[len(str(self.root)) + 1 :].partition(".tar/")
        return f"{shard}.tar", name

    def content(self, path: str) -> bytes:
        """Bytes of an image.

        Raises:
            OSError: or ValueError, if they cannot be had.
        """
        shard, name = self.located(path)
        offset, size = self.shards[shard].span(name)
        with (self.root / shard).open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise ValueError("its shard ends before it does")
        return content

    def stamp(self, path: str) -> Stamp:
        """Stamp of an image's shard."""
        return self._stamps[self.located(path)[0]]


def _kept_or_indexed(path: Path, stamp: Stamp, keys: Keys) -> Shard:
    """What is in a shard, from the user's cache if it was there under this stamp."""
    facts = json.dumps([VERSION, str(path.resolve()), stamp, astuple(keys), image_suffixes()])
    name = hashlib.blake2b(facts.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    kept = cache_folder() / "shards" / f"{name}.npz"
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return Shard(**arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        pass  # not yet kept, or damaged
    shard = _indexed(path, keys)
    if stamp == NO_FILE:
        return shard
    written = BytesIO()
    np.savez(written, **vars(shard))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, written.getvalue())
    except (OSError, UserError):
        pass  # it costs the next run time, nothing else
    return shard


def _samples(
    path: Path, keys: Keys
) -> tuple[dict[str, dict[str, tarfile.TarInfo]], dict[str, bytes]]:
    """Members of each sample of a shard by what follows their first dot, and what it is labelled.

    Raises:
        UserError: naming a member that is there twice, or no label.
    """
    samples = defaultdict[str, dict[str, tarfile.TarInfo]](dict)
    labels: dict[str, bytes] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            key, ending = _key(member.name)
            if not member.isreg() or not ending or _META.match(key):
                continue
            if ending in samples[key]:
                raise UserError(
                    f"{path} holds {one_line(member.name)} twice: give each sample a name of"
                    " its own"
                )
            samples[key][ending] = member
            if ending == keys.label:
                labels[key] = _label(path, archive, member)
    return samples, labels


def _indexed(path: Path, keys: Keys) -> Shard:
    """What is in a shard, by its headers.

    Raises:
        UserError: if it cannot be read, or a sample is ambiguous.
    """
    try:
        samples, labels = _samples(path, keys)
    except UserError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a tar archive ({one_line(error)}): copy it anew; one that is"
            " compressed must be unpacked to a plain .tar"
        ) from None
    found = []
    for key, members in samples.items():
        if image := _image(path, members, keys.image):
            # As a path has it, without a dot or a slash at its beginning.
            name = PurePosixPath(image.name.lstrip("/")).as_posix()
            found.append((_encoded(name), image.offset_data, image.size, labels.get(key, b"")))
    found.sort()
    _check_names(path, [name for name, *_ in found])
    names, offsets, sizes, told = zip(*found, strict=True) if found else ((), (), (), ())
    return Shard(
        np.array(names, np.bytes_),
        np.array([offsets, sizes], np.int64).T,
        np.array(told, np.bytes_),
        np.array(len(samples) - len(found)),
    )


def _check_names(path: Path, names: Sequence[bytes]) -> None:
    """Refuse names of images, in order, that are alike or too long to be kept."""
    for name, following in pairwise([*names, b""]):
        if name == following or len(name) > LONGEST:
            shown = one_line(name.decode(errors="replace"))[:80]
            said = "as the name of two images" if name == following else f"{LONGEST} bytes or more"
            raise UserError(f"{path} holds {shown}, {said}: give each a short name of its own")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _key(name: str) -> tuple[str, str]:
    """Name of a member up to its first dot, without its folders' dots, and what follows it."""
    folder, slash, own = name.rpartition("/")
    key, _, ending = own.partition(".")
    return (folder + slash + key, ending.lower()) if key else (name, "")


def _label(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > LONGEST:
        raise UserError(
            f"{one_line(member.name)} of {path} has {member.size:,} bytes, which is no label: name"
            " the members that are by --data.label_key"
        )
    content: IO[bytes] | None = archive.extractfile(member)
    return content.read().strip() if content else b""


def _image(
    path: Path, members: Mapping[str, tarfile.TarInfo], wanted: str
) -> tarfile.TarInfo | None:
    """The image of a sample, None where it has none."""
    if wanted:
        fitting = [one for one in wanted.lower().split(";") if one in members]
    else:
        suffixes = image_suffixes()
        fitting = [ending for ending in members if f".{ending.rpartition('.')[2]}" in suffixes]
    if len(fitting) > 1 and not wanted:
        raise UserError(
            f"a sample of {path} has {len(fitting)} images, such as"
            f" {one_line(members[fitting[0]].name)} and {one_line(members[fitting[1]].name)}: say"
            f" which is meant, --data.image_key {fitting[0]}"
        )
    return members[fitting[0]] if fitting else None


def shard_labels(shard: Shard) -> list[int | str | None]:
    """Labels of a shard's images: whole numbers, names of classes, or None where there is none."""
    texts = [text.decode(errors="replace") for text in shard.labels.tolist()]
    # A name that happens to be a number is one.
    return [int(text) if text.isdecimal() or _is_negative(text) else text or None for text in texts]


def _is_negative(text: str) -> bool:
    return text.startswith("-") and text[1:].isdecimal()


def left_out(shards: Sequence[Shard]) -> dict[str, int]:
    """Number of samples that are not read, by the reason."""
    number = Counter({"samples without an image": sum(int(one.num_without) for one in shards)})
    return dict(+number)
