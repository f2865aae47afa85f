"""What trains one network, from the yaml file of a retraining: data, recipe and length."""

import json
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import pytorch_lightning as pl
import yaml
from jsonargparse import ArgumentParser, Namespace

import supernet.data
import supernet.data.containers.hugging_face
import supernet.data.containers.web_dataset  # noqa: F401 - short names of data sets
from supernet.command.parser_errors import readable
from supernet.command.trust import check_imports
from supernet.errors import UserError, one_line
from supernet.files.reading import parse_yaml, read_yaml, short, typed_object
from supernet.files.shipped import config_file
from supernet.training.recipe import Recipe

_T = TypeVar("_T")

RENAMED = {
    "supernet.clutter.ClutteredDigits": "supernet.data.ClutteredDigits",
    "supernet.boxes.DigitBoxes": "retrain.detect.digit_boxes.DigitBoxes",
}
"""Data classes by the names that version 0.1 wrote into configs; to go with version 0.3."""

PHOTOS = ("ImageFolder", "HuggingFace", "WebDataset")
"""Data classes of stored images, which differ in nothing but where these lie."""


@dataclass(frozen=True)
class TrainingConfig:
    """A retraining but for its network and seed, as plain values that another process can read."""

    data: dict[str, Any]
    """``class_path`` and ``init_args`` of the datamodule, defaults filled in."""
    recipe: Recipe
    max_steps: int
    """Optimizer steps; this or ``max_epochs`` is -1 where the other gives the length."""
    max_epochs: int
    digest: str = ""
    """Of images that may lie anywhere, as ``may_change`` of their class says; else empty."""

    def make_data(self) -> pl.LightningDataModule:
        """The datamodule; raises UserError when it refuses its arguments."""
        return make_data(self.data, "data")

    def num_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole training."""
        lengths = [self.max_steps, self.max_epochs * steps_per_epoch]
        return min(length for length in lengths if length > 0)


def read_training(
    path: str | Path, trusted: Sequence[str] = (), root: Path | None = None
) -> TrainingConfig:
    """Read data, recipe and length of a retraining's yaml; what else it sets is Lightning's.

    ``trusted`` are modules, besides ours, that it may name classes of; ``root`` is that of an
    ``ImageFolder`` or its like, which a config leaves to the command line.

    Raises:
        UserError: one line that names the file and what is wrong in it.
    """
    config = read_yaml(path, "name a yaml file such as configs/clutter/retrain.yaml")
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        raise UserError(f"{path} has no section data: name a yaml file of a retraining")
    check_class_path(config, path)
    check_imports(config, Path(path), trusted)
    place = str(path)
    model, trainer = (_section(config, name, place) for name in ("model", "trainer"))
    lengths = _lengths(trainer, path)
    if root and str(config["data"].get("class_path")).endswith(PHOTOS):
        arguments = _section(config["data"], "init_args", f"{place}: data")
        config["data"]["init_args"] = {**arguments, "root": str(root)}
    recipe = read_section(Recipe, "recipe", _section(model, "recipe", place), place)
    return TrainingConfig(_parse_data(config["data"], place).as_dict(), recipe, *lengths)


def check_class_path(config: Any, path: str | Path) -> None:
    """Refuse a yaml file whose data class is known by another name today.

    Raises:
        UserError: naming both names.
    """
    data = config.get("data") if isinstance(config, dict) else None
    named = data.get("class_path") if isinstance(data, dict) else None
    if isinstance(named, str) and named in RENAMED:
        raise UserError(
            f"{path}: data.class_path is {named}, which is now {RENAMED[named]}: write that"
        )


def with_shipped_space(text: str) -> str:
    """The text of a run's config in which the name of a shipped space has become its file.

    Paths lead from this process's folder.

    Raises:
        UserError: for a space that is neither a file nor the name of a shipped one.
    """
    try:
        model = _value_of(yaml.compose(text, yaml.SafeLoader), "model")
    except yaml.YAMLError:
        return text  # the parser says what is wrong with it
    space = _value_of(model, "space")
    if not isinstance(space, yaml.ScalarNode) or space.tag != "tag:yaml.org,2002:str":
        return text
    # In its place, since a text that is written anew may read otherwise.
    file = json.dumps(str(config_file(space.value)))
    return text[: space.start_mark.index] + file + text[space.end_mark.index :]


def _value_of(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """The value of a key of a mapping, if it is one that has it."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def check_resolution(data: Namespace, files: Sequence[Path], words: Sequence[str]) -> None:
    """Refuse a resolution that a config gives the images of another data class than the run's.

    Digits are 16 px wide; photos that are laid over their config would be so too, without a word.

    Args:
        data: the section of a run, of all its files and of its command line.
        files: the configs, of which a later one replaces what an earlier one has said.
        words: the command line.

    Raises:
        UserError: naming the resolution, its config and both classes.
    """
    if any("resolution" in word for word in words):
        return
    told, held, source = "", dict[str, Any](), Path()
    for file in files:
        content = parse_yaml(file.read_text(encoding="utf-8"))
        section = content.get("data") if isinstance(content, dict) else None
        if not isinstance(section, dict):
            continue
        told = str(section.get("class_path", told)).rpartition(".")[2]
        arguments = section.get("init_args")
        if isinstance(arguments, dict) and "resolution" in arguments:
            held, source = {"class": told, "resolution": arguments["resolution"]}, file
    kind = str(data.get("class_path")).rpartition(".")[2]
    alike = {held.get("class"), kind} <= set(PHOTOS)
    if held and held["class"] not in ("", kind) and not alike:
        photos = ", or begin with a file of configs/photos" if kind in PHOTOS else ""
        raise UserError(
            f"data.resolution is {short(held['resolution'])}, which {source} gives to"
            f" {held['class']}, but the data are {kind}: say which is meant, such as"
            f" --data.resolution 96{photos}"
        )


def _section(holder: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    """A section of a config, empty where it is not there."""
    return typed_object(f"{place}: {name}", {} if holder.get(name) is None else holder[name])


def _lengths(trainer: dict[str, Any], path: str | Path) -> tuple[int, int]:
    values = [trainer.get(name, -1) for name in ("max_steps", "max_epochs")]
    if not all(type(value) is int for value in values) or max(values) < 1:
        raise UserError(
            f"{path}: trainer.max_steps is {short(values[0])} and max_epochs {short(values[1])}:"
            " give one of them a whole number above 0"
        )
    return values[0], values[1]


def make_data(settings: dict[str, Any], place: str) -> pl.LightningDataModule:
    """The datamodule of a config's ``class_path`` and ``init_args``; ``place`` names the config.

    Raises:
        UserError: when there is no such class or it refuses its arguments.
    """
    known = _parse_data(settings, place)
    arguments = known.init_args.as_dict() if "init_args" in known else {}
    # A parser that offers subclasses would bury what this class says in a page of its own.
    return read_section(pkgutil.resolve_name(known.class_path), "data", arguments, place)


def _parse_data(settings: dict[str, Any], place: str) -> Namespace:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    return _parse(parser, "data", settings, place)


def read_section(kind: type[_T], name: str, settings: dict[str, Any], place: str) -> _T:
    """An object of ``kind`` from a section of a config, of which parts may describe dataclasses.

    The section has a ``name`` and holds arguments of the constructor, of which the others keep
    their defaults; ``place`` names the config in an error.

    Raises:
        UserError: one line, or what the constructor says of its arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, name)
    checked = Namespace({name: _parse(parser, name, settings, place)})
    try:
        return parser.instantiate_classes(checked)[name]
    except TypeError as error:
        if not is_dataclass(kind):  # a user's own class may have reasons of its own
            raise
        raise UserError(f"{place} does not describe {name}: {one_line(error)}") from None


def _parse(parser: ArgumentParser, name: str, settings: dict[str, Any], place: str) -> Namespace:
    """A section that a parser has checked, defaults filled in."""
    try:
        return parser.parse_object({name: settings})[name]
    except Exception as error:  # noqa: BLE001 - jsonargparse raises more than its ArgumentError
        raise UserError(f"{place} does not describe {name}: {readable(str(error))}") from None


def check_sections(settings: Namespace, model_class: Any) -> None:
    """Refuse settings of a run of which a section is no mapping.

    jsonargparse takes anything for a section and fails, without a word of which, when it makes it.

    Args:
        settings: as they were parsed.
        model_class: whose parameters are the section ``model``.

    Raises:
        UserError: naming the section and what it holds.
    """
    for name in ("trainer", "model", "data", "wandb"):
        _require(name, settings.get(name))
    kinds = get_type_hints(model_class.__init__)
    for name, value in settings.model.items():
        _check_value(f"model.{name}", value, kinds.get(name))


def _check_value(place: str, value: Any, kind: Any) -> None:
    """Check what has a dataclass as its type, or one or None."""
    found = [one for one in (kind, *get_args(kind)) if is_dataclass(one)]
    optional = NoneType in get_args(kind)
    if len(found) == 1 and not (optional and value is None):
        _check_fields(place, value, found[0])


def _check_fields(place: str, value: Any, kind: Any) -> None:
    held = _require(place, value)
    kinds = get_type_hints(kind)
    for name, inner in held.items():
        _check_value(f"{place}.{name}", inner, kinds.get(name))


def _require(place: str, value: Any) -> Namespace:
    if not isinstance(value, Namespace):
        raise UserError(f"{place} is {short(value)}, it must be a section of settings")
    return value
