"""arch.json: the one file in which search and retrain meet. No torch.

It holds what is reproducible: the space, the architecture, what follows from the two, and what the
search predicted of it; and last, where the network was timed on the device of the predictions,
``measured``, in which alone equal searches differ. What is dated or named lies beside it.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from supernet.arch_records import Chance, ConstraintUse, Measured, TableError, check_follows
from supernet.cost.counts import count
from supernet.cost.model import CLOSED_FORMS, MAX_MS, TARGET_UNITS, ClosedForm
from supernet.data_description import DataDescription
from supernet.errors import UserError, check_choice, check_range
from supernet.files.json_text import CHECKSUM, check_checksum, checksum_of, parse_json
from supernet.files.reading import check_names, read_as, short, typed, typed_object
from supernet.files.writing import write_atomic
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec

ARCH_FORMAT = "mnasnet-arch"
ARCH_VERSION = 1
DERIVED = ("block_strings", "resolution", "classes", "params", "macs")
"""Fields that follow from space and architecture: written for the reader, checked on reading."""


@dataclass(frozen=True)
class ArchFile:
    """A found architecture and what the search knew of it.

    Raises:
        UserError: when the architecture lies outside the space, the unit is unknown or a number
            is not finite.

    Examples:
        >>> found = read_arch("arch.json")
        >>> round(found.predicted, 2), found.unit, found.params
        (5.89, 'ms', 12584)
        >>> found.spec.block_strings()[0]
        'r1_k3_s11_e6_i8_o8'
    """

    space: MnasSpace
    arch: Arch
    """Made canonical on construction."""
    predicted: float
    """Predicted cost of one image, in ``unit``."""
    unit: str
    """Unit of ``predicted`` and ``target``: ms, macs or params."""
    table: str
    """Hash of the latency table that predicted, empty when the cost is a count."""
    device: str
    """Device of that table, empty when the cost is a count."""
    accuracy: float
    """Accuracy on the validation split after a short tuning, recalibrated: of the supernet's slice,
    or of a network that began afresh where no weights were shared."""
    reward: float
    """Reward of ``accuracy`` and ``predicted``."""
    target: float
    """Upper limit of ``predicted``, in ``unit``."""
    seed: int
    step: int
    """Weight steps that the supernet had taken."""
    measured: Measured | None = None
    """Its time on the device, where predictions are of this device."""
    constraints: tuple[ConstraintUse, ...] = ()
    """Uses of what the search also limited."""
    table_error: TableError | None = None
    """Error of the latency table that predicted."""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Versions of the packages that searched; empty in a file that does not tell."""
    data: DataDescription | None = None
    """Images that it was searched for; None in a file that does not tell."""
    chance: Chance | None = None
    """What guessing is worth beside ``accuracy``; None in a file of version 0.1."""

    def __post_init__(self) -> None:
        """Check the values and spell the architecture canonically."""
        self._check_ranges()
        if self.chance:
            self.chance.check(self.accuracy)
        if self.measured:
            self.measured.check(self.predicted, self.unit)
        # Decoding what was encoded turns equal spellings (0 for 0.0, 3.0 for 3) into one.
        inside = self.space.decode(self.space.encode(self.arch))
        object.__setattr__(self, "arch", self.space.canonical(inside))
        for use in self.constraints:
            use.check(self.spec)
        if closed := CLOSED_FORMS.get(self.unit):
            self._check_count(closed)
        self._check_data()

    def _check_ranges(self) -> None:
        check_choice("unit", self.unit, TARGET_UNITS)
        check_range("", self, "reward")
        check_range("", self, "accuracy", least=0, most=1)
        longest = MAX_MS if self.unit == "ms" else math.inf
        check_range("", self, "predicted", "target", above=0, most=longest)
        check_range("", self, "seed", least=0, below=2**32)
        check_range("", self, "step", least=0, below=2**53)
        if self.predicted > self.target:
            raise UserError(
                f"predicted is {self.predicted}, above the target {self.target}: a search chooses"
                " only what meets its target"
            )

    def _check_count(self, closed: ClosedForm) -> None:
        if self.table or self.device:
            raise UserError(
                f"unit is {self.unit}, but the file names a table {short(self.table)} of the device"
                f" {short(self.device)}: only ms are predicted from a table"
            )
        why = f"but its architecture has {self.unit}"
        check_follows("predicted", self.predicted, closed.predict(self.spec), why)

    def _check_data(self) -> None:
        if self.data and len(self.data.classes) != self.classes:
            raise UserError(
                f"data.classes names {len(self.data.classes)} classes, but its architecture has"
                f" {self.classes}"
            )

    @cached_property
    def spec(self) -> NetSpec:
        """The network, at the search's resolution and class count."""
        return self.space.spec(self.arch)

    @property
    def block_strings(self) -> list[str]:
        """The stages in the official grammar."""
        return self.spec.block_strings()

    @property
    def judged_as(self) -> str:
        """What ``accuracy`` is of, in a word."""
        return "supernet" if self.step else "unshared"

    @property
    def resolution(self) -> int:
        """Side of the input, in pixels."""
        return self.spec.resolution

    @property
    def classes(self) -> int:
        """Width of the classifier."""
        return self.spec.classes

    @property
    def params(self) -> int:
        """Learnable parameters."""
        return count(self.spec).params

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return count(self.spec).macs


_KINDS = {
    name: get_args(kind)[0] if isinstance(kind, UnionType) else kind
    for name, kind in get_type_hints(ArchFile).items()
}
"""Types of the fields, where they are there."""
_OPTIONAL = ("versions", "data", "chance", "table_error", "constraints", "measured")
_RECORDED = tuple(name for name in _KINDS if name not in ("space", "arch", *_OPTIONAL))
_FIELDS = ("format", "version", "space", "arch", *DERIVED, *_RECORDED, *_OPTIONAL, CHECKSUM)


def write_arch(path: str | Path, archfile: ArchFile) -> None:
    """Write arch.json: equal contents give equal bytes, and no reader ever sees half a file.

    Raises:
        UserError: when the disk is full or the folder cannot be written.

    Examples:
        >>> found = read_arch("arch.json")
        >>> write_arch("copy.json", found)
        >>> read_arch("copy.json") == found
        True
    """
    plain = dataclasses.asdict(archfile)
    fields = {
        "format": ARCH_FORMAT,
        "version": ARCH_VERSION,
        "space": archfile.space.plain(),
        "arch": plain["arch"]["blocks"],
        **{name: getattr(archfile, name) for name in DERIVED},
        **{name: plain[name] for name in _RECORDED},
        **{name: plain[name] for name in _OPTIONAL if plain[name]},
    }
    fields[CHECKSUM] = checksum_of(fields)
    write_atomic(path, (_layout(fields) + "\n").encode())


def _layout(fields: dict[str, Any]) -> str:
    """JSON with one setting or block to a line: 50 lines where ``json.dumps`` makes 150."""
    text = {name: json.dumps(value, allow_nan=False) for name, value in fields.items()}
    settings = (f"{json.dumps(name)}: {json.dumps(v)}" for name, v in fields["space"].items())
    text["space"] = _lines("{}", settings, "    ")
    for name in {"arch", "block_strings", "constraints"} & set(fields):
        text[name] = _lines("[]", map(json.dumps, fields[name]), "    ")
    return _lines("{}", (f"{json.dumps(name)}: {value}" for name, value in text.items()), "  ")


def _lines(brackets: str, items: Iterable[str], indent: str) -> str:
    body = ",\n".join(indent + item for item in items)
    return f"{brackets[0]}\n{body}\n{indent[2:]}{brackets[1]}"


def read_arch(path: str | Path) -> ArchFile:
    """Read arch.json, trusting nothing: every value is checked and every count made again.

    Raises:
        UserError: one line that names the file, the field, its value and what is allowed.

    Examples:
        >>> round(read_arch("arch.json").target, 2)
        5.9
        >>> read_arch("nowhere.json")
        Traceback (most recent call last):
            ...
        supernet.errors.UserError: nowhere.json: cannot be read (No such file ...
    """
    try:
        fields = _read_object(Path(path))
        _check_header(fields)
        check_names("", fields, _FIELDS, optional=(*_OPTIONAL, CHECKSUM))
        archfile = ArchFile(
            arch=_read_blocks(fields["arch"]),
            **{
                name: typed(name, fields[name], kind)
                for name, kind in _KINDS.items()
                if name in fields and name != "arch"
            },
        )
        _check_derived(fields, archfile)
        if CHECKSUM in fields:
            check_checksum(fields, "the search wrote it")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return archfile


def load_spec(name_or_path: str) -> NetSpec:
    """The network of an arch.json or of a published name.

    Raises:
        UserError: when it is neither, or when the file is refused.

    Examples:
        >>> load_spec("arch.json").classes, load_spec("mnasnet_a1").classes
        (10, 1000)
    """
    if name_or_path not in published and is_file_name(name_or_path):
        return read_arch(name_or_path).spec
    return published_spec(name_or_path)


def is_file_name(name_or_path: str) -> bool:
    """Whether the argument of a command means a file rather than a published name."""
    return name_or_path.endswith(".json") or os.sep in name_or_path


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in its name
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise UserError(f"cannot be read ({reason}): name {_nearby(path)}") from None
    try:
        return typed_object("the content", parse_json(content))
    except UserError as error:
        raise UserError(f"{error}: name the arch.json that a search wrote") from None


def _nearby(path: Path) -> str:
    """Files to name instead of one that is not there: a search has one for each target."""
    found = sorted(one.name for one in path.parent.glob(f"{path.stem}-*{path.suffix}"))
    return (
        f"one of {', '.join(found)} there" if found else "an arch.json, such as runs/NAME/arch.json"
    )


def _check_header(fields: dict[str, Any]) -> None:
    if fields.get("format") != ARCH_FORMAT:
        raise UserError(
            f"format is {short(fields.get('format'))}, not {ARCH_FORMAT!r}: name the arch.json that"
            " a search wrote"
        )
    if fields.get("version") != ARCH_VERSION:
        raise UserError(
            f"version is {short(fields.get('version'))}, this program reads {ARCH_VERSION}: use the"
            " release that wrote the file, or search again"
        )


def _read_blocks(value: object) -> Arch:
    blocks = enumerate(typed("arch", value, list), 1)
    return Arch(tuple(read_as(BlockChoice, block, f"block {n}: ") for n, block in blocks))


def _check_derived(fields: dict[str, Any], archfile: ArchFile) -> None:
    true = {name: getattr(archfile, name) for name in DERIVED}
    for name, told, follows in _flat(fields, true):
        check_follows(name, told, follows, "but its architecture has")


def _flat(fields: dict[str, Any], true: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Name, told and true value of each derived field; of each block's where there is a list."""
    for name, follows in true.items():
        told = fields[name]
        if isinstance(told, list) and isinstance(follows, list) and len(told) == len(follows):
            for number, pair in enumerate(zip(told, follows, strict=True), 1):
                yield f"{name}, block {number}", *pair
        else:
            yield name, told, follows
