"""Subject: a layer, a network or an exported file, whatever a device can time."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.cost.timed_layers import Head, StageLayer, Stem, TimedLayer
from supernet.errors import UserError
from supernet.files.reading import read_as
from supernet.space.spec import NetSpec


@dataclass(frozen=True)
class NetworkFile:
    """An exported network, for a runtime that reads such files: images (1, 3, R, R) in."""

    path: Path
    resolution: int

    @property
    def key(self) -> str:
        """The name under which its times are kept."""
        return str(self.path)


Subject = TimedLayer | NetSpec | NetworkFile
"""What a device can time."""


def subject_key(subject: Subject) -> str:
    """The name under which a subject's times are kept."""
    return subject.to_json() if isinstance(subject, NetSpec) else subject.key


def input_shape(subject: Subject) -> tuple[int, int, int, int]:
    """Batch, channels, height and width that a subject takes."""
    if isinstance(subject, NetSpec | NetworkFile):
        return (1, 3, subject.resolution, subject.resolution)
    return (1, subject.inputs, subject.size, subject.size)


_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (NetSpec, Stem, StageLayer, Head)}


def to_plain(subject: TimedLayer | NetSpec) -> dict[str, Any]:
    """A layer or network as a JSON object, for another process."""
    return {"kind": type(subject).__name__, "fields": dataclasses.asdict(subject)}


def from_plain(fields: Mapping[str, Any]) -> TimedLayer | NetSpec:
    """The inverse of ``to_plain``."""
    return read_as(_KINDS[fields["kind"]], fields["fields"])


def refuse_file(subject: Subject, backend: str) -> TimedLayer | NetSpec:
    """The subject; UserError for a file of another runtime."""
    if isinstance(subject, NetworkFile):
        raise UserError(f"{backend} cannot run {subject.path}: measure it with onnxruntime")
    return subject
