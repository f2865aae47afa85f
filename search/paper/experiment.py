"""Experiments as they stand in a file: rows of a table, what the paper prints of them, scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from search.paper.networks import PAPER_SIZE, Layers, Smaller
from supernet.errors import UserError, check_choice, check_range
from supernet.files.reading import read_as, read_yaml
from supernet.files.shipped import config_file, shipped_configs

S = TypeVar("S")

FOLDER = "paper"
"""Folder of the shipped experiments."""
SCALES = ("embedded", "imagenet")


@dataclass(frozen=True)
class Printed:
    """What the paper prints of a row; None where it prints nothing."""

    accuracy: float | None = None
    """Top-1 on ImageNet, in per cent."""
    ms: float | None = None
    """Latency on one big core of a Pixel 1, one image at a time."""
    macs: float | None = None
    """Multiply-adds, in millions."""
    params: float | None = None
    """Parameters, in millions."""


@dataclass(frozen=True)
class TableRow:
    """One row of an experiment's table: a given network, or searches for one."""

    name: str
    network: str = ""
    """A published network; empty for searches."""
    width: float = 1.0
    """Its width multiplier."""
    size: int = PAPER_SIZE
    """Side of its images in the paper, px; a scale says what 224 px are."""
    layers: Layers = field(default_factory=Layers)
    search: tuple[str, ...] | None = None
    """Options of ``mnasnet search`` that this row adds to the scale's; None for a network."""
    line: str = ""
    """Rows of one line are connected in the figure."""
    panel: str = ""
    """What its panel of the figure shows, where there are several."""
    paper: Printed = field(default_factory=Printed)

    @property
    def published(self) -> str:
        """Name of its network with its width; empty where no published one has these layers."""
        if not self.network or self.layers != Layers():
            return ""
        return self.network + (f"_{round(100 * self.width):03d}" if self.width != 1 else "")


@dataclass(frozen=True)
class Contrast:
    """Two rows whose difference the paper makes something of."""

    better: str
    """Name of the row that the paper has ahead."""
    worse: str
    points: float | None = None
    """The paper's difference of their accuracies, in points; None where it prints none."""


@dataclass(frozen=True)
class Scale:
    """Data, networks and lengths that an experiment is run with."""

    training: str
    """Config of the trainings."""
    resolution: int
    """Side of the images in px where the paper has 224."""
    classes: int = 10
    seeds: int = 3
    """Trainings of each given network, and searches of each row of them."""
    steps: int = 0
    """Length of a training; 0: that of its config."""
    runs: bool = False
    """Whether trainings are runs of ``mnasnet retrain``, which takes GPUs, and not jobs of this
    command, which have a CPU thread each."""
    smaller: Smaller | None = None
    """How published networks are made small; None leaves them as they are."""
    search: str = ""
    """Config of the searches, where there are any."""
    options: tuple[str, ...] = ()
    """Options of ``mnasnet search`` for all of them."""
    target: str = ""
    """What all of them are limited to, resolved once, on the space of that config."""

    def __post_init__(self) -> None:
        check_range("scale.", self, "resolution", "classes", "seeds", least=1)
        check_range("scale.", self, "steps", least=0)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper: its rows, what is compared, and how it is run here."""

    title: str
    claim: str
    """What the paper says."""
    rows: tuple[TableRow, ...]
    contrasts: tuple[Contrast, ...]
    scales: Mapping[str, Scale]
    axis: str = "ms"
    """Cost on the figure's x axis: ms or macs."""
    note: str = ""
    """What must be known of the numbers."""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UserError(f"two rows are called {twice!r}: rename one")
        for row in self.rows:
            if bool(row.network) == (row.search is not None):
                raise UserError(f"row {row.name!r} must have either a network or a search")
        for one in self.contrasts:
            check_choice("contrasts.better", one.better, names)
            check_choice("contrasts.worse", one.worse, names)
        check_choice("axis", self.axis, ("ms", "macs"))


def experiment_names() -> list[str]:
    """Names of the experiments that ship."""
    folders = (name.split("/") for name in shipped_configs())
    return [name for folder, name in folders if folder == FOLDER]


def experiment_file(name: str) -> Path:
    """The file of an experiment: one of one's own, or that which ships by this name.

    Raises:
        UserError: with the names of those that there are.
    """
    if Path(name).suffix == ".yaml":
        return config_file(name)
    plain = name.removeprefix(f"{FOLDER}/")
    check_choice("experiment", plain, experiment_names())
    return config_file(f"{FOLDER}/{plain}")


def read_settings(path: Path) -> dict[str, Any]:
    """Content of an experiment's file.

    Raises:
        UserError: when it cannot be read, or says no kind.
    """
    settings = read_yaml(path, f"name one of {', '.join(experiment_names())}")
    if not isinstance(settings, dict) or not isinstance(settings.get("kind"), str):
        raise UserError(f"{path} has no kind: name the file of an experiment")
    return settings


def read_experiment(settings: Mapping[str, Any], path: Path) -> Experiment:
    """The experiment of a file's content, of the kind ``trainings``.

    Raises:
        UserError: naming the file, the field, and what it must be.
    """
    fields = {name: value for name, value in settings.items() if name != "kind"}
    try:
        return read_as(Experiment, fields, partial=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def scale_of(scales: Mapping[str, S], name: str, path: Path) -> S:
    """The scale of a name.

    Raises:
        UserError: when the experiment has none of that name.
    """
    if name not in scales:
        raise UserError(f"{path} has no scale {name}, but {', '.join(scales)}")
    return scales[name]


def one_line_each(named: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines of a list: a name, and words behind it, in columns."""
    width = max(map(len, named), default=0)
    return [f"{name:<{width}}  {'; '.join(words)}" for name, words in named.items()]
