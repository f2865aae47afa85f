"""Pages of the reference: one for each command, with all its options, and one of the data sets.

``python -m docs.options`` writes them beside the list that they are made of.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from jsonargparse._parameter_resolvers import ParamData, get_signature_parameters
from jsonargparse._util import import_object

from docs.option_types import type_words, words_of_type
from docs.reference_words import DATA, INNER, TRAINER, TRAINER_PAGE, WORDS
from supernet.command.console import COMMANDS

FOLDER = Path(__file__).with_name("reference")
HEAD = "<!-- written by python -m docs.options -->\n"
TABLE = ("option", "value", "default", "meaning")
ARGUMENTS = ("argument", *TABLE[1:])
IN_CONFIGS = (
    "Each of them, and of the settings below, may stand in a yaml file for `-c`, with a level for"
    " each dot: `--trainer.max_steps 600` is `trainer: {max_steps: 600}`. The command line wins."
    " A section may also be a file of its own: `--model FILE`.\n"
)
SECTIONS = {
    "data": "The class of the images is `--data NAME`; its arguments are `--data.root DIR` and so"
    " on. [Data sets](data-sets.md) lists those that ship, and `--data.help NAME` prints those of"
    " a class.",
    "trainer": "Settings of PyTorch Lightning's Trainer that runs have a use for. The others are on"
    f" [Lightning's page]({TRAINER_PAGE}), and `--help all` prints them.",
}
"""What stands below the titles of sections."""
FLAG = {"store_true": "flag"}
FURTHER = {"compare": [("search.truth", "--truth TABLE")]}
"""Commands that an option of another one leads to, and the option."""
MANY = ("+", "*")
GOES_ON = re.compile(r"(of|as|in|for|from|on|instead|by|best|default|adb|fp32)\b|\w+[:]|\W")
"""Beginnings of what goes on with an option's name, or with one of its values."""


def pages(options: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[Path, str]]:
    """The file and the Markdown of each page.

    Args:
        options: of each command, as ``docs.options.options_of`` tells them.
    """
    for name, command in COMMANDS.items():
        verbs = [one for one in options if f"{one} ".startswith(f"{command.name} ")]
        both = [(one, one.partition(" ")[2] if len(verbs) > 1 else "") for one in verbs]
        both += FURTHER.get(name, [])
        tables = [part for one, verb in both for part in _options(options[one], verb)]
        yield FOLDER / f"{name}.md", "\n".join([HEAD, *_words(name), *tables])
    yield FOLDER / "data-sets.md", "\n".join([HEAD, *_data_sets()])


def _words(name: str) -> Iterator[str]:
    told = WORDS[name]
    yield f"# mnasnet {name}\n"
    yield f"{told.purpose}\n"
    yield f"```bash\n{told.examples}\n```\n"
    yield f"More: {told.further}. All commands: [commands](../commands.md).\n"


def _options(told: Sequence[Mapping[str, Any]], verb: str) -> Iterator[str]:
    """Tables of options, one for each section of configs, the Trainer's last.

    Args:
        told: of each option.
        verb: whose they are, if a command has several.
    """
    sections = dict.fromkeys(one.get("section", "") for one in told)
    for section in sorted(sections, key=_place):
        name = section.partition(":")[0]
        rows = [one for one in told if one.get("section", "") == section and _is_shown(one)]
        title = f"`{name}`" if name else f"`{verb}`" if verb else "Options"
        yield f"## {title}\n"
        if about := SECTIONS.get(name) or sentence(section.partition(": ")[2]):
            yield f"{about}\n"
        yield table(TABLE, (_row(one) for one in rows))
        if not name and len(sections) > 1:
            yield IN_CONFIGS
        for setting, record in INNER.items():
            if setting.rpartition(".")[0] == name and f"--{setting}" in _names(rows):
                yield f"Each of `{setting}` has:\n"
                yield table(
                    ARGUMENTS, map(_row_of, get_signature_parameters(import_object(record)))
                )


def _place(section: str) -> tuple[bool, bool, bool, str]:
    """Where a section stands: options and data first, the Trainer last."""
    name = section.partition(":")[0]
    return name == "trainer", bool(name), name != "data", name


def _names(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {name for one in rows for name in one["names"]}


def _is_shown(one: Mapping[str, Any]) -> bool:
    """Whether a page tells of an option, and not a sentence of all that are like it."""
    name = one["names"][-1]
    if name.startswith("--trainer."):
        return name.removeprefix("--trainer.") in TRAINER
    return one["about"] != "Path to a configuration file." and not name.endswith(".help")


def _row(one: Mapping[str, Any]) -> Sequence[str]:
    is_place = not one["names"][0].startswith("-") and one.get("nargs") != "?"
    is_required = one.get("is_required") or is_place
    is_trainers = one["names"][-1].startswith("--trainer.") and "help" in one
    part = ".NAME" if one.get("metavar", "").startswith(".NAME ") else ""
    is_list = "action" in one or one.get("nargs") in MANY
    default = (one.get("default") or None) if is_list else one.get("default")
    return (
        ", ".join(f"`{name}{part}`" for name in one["names"]),
        FLAG.get(one.get("action", "")) or _value(one),
        "required" if is_required else written(default),
        sentence(one["help"] if is_trainers else one["about"].removesuffix(f" ({default})")),
    )


def _value(one: Mapping[str, Any]) -> str:
    choices = one.get("choices")
    told = _choices(choices) if choices else words_of_type(one.get("type", "str"))
    return f"{told}, one or more" if one.get("nargs") in MANY else told


def _choices(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _row_of(parameter: ParamData) -> Sequence[str]:
    """The row of an argument of a class."""
    kind, default = type_words(parameter.annotation), parameter.default
    is_required = default is Parameter.empty
    is_record = is_dataclass(default) and not isinstance(default, type)
    value = [] if is_required else dataclasses.asdict(default) if is_record else default
    return (
        f"`{parameter.name}`",
        _choices(kind.split(" | "))
        if "Literal" in str(parameter.annotation)
        else words_of_type(kind),
        "required" if is_required else written(value),
        sentence(parameter.doc or ""),
    )


def _data_sets() -> Iterator[str]:
    yield "# Data sets\n"
    yield (
        "The data sets that ship, and their arguments. On a command line: `--data ImageFolder"
        " --data.root DIR`. In a config: `data: {class_path: ImageFolder, init_args: {root: DIR}}`."
        " [Your own images](../data.md) has the layouts of folders, and how a data set of your own"
        " is written. `DigitBoxes` and `CocoBoxes` are for [detection](../detection.md).\n"
    )
    for path in DATA:
        kind = import_object(path)
        yield f"## {kind.__name__}\n"
        yield f"{clean(str(kind.__doc__).partition(chr(10))[0])}\n"
        parameters = get_signature_parameters(kind)
        yield table(ARGUMENTS, map(_row_of, parameters))
        for one in parameters:
            if is_dataclass(one.annotation):
                yield f"`{one.name}` has:\n"
                yield table(ARGUMENTS, map(_row_of, get_signature_parameters(one.annotation)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def written(default: Any) -> str:
    """A default as it is typed; nothing for none."""
    return "" if default is None else f"`{json.dumps(default).strip(chr(34)) or chr(34) * 2}`"


def clean(text: str) -> str:
    """Text of a docstring as Markdown on one line."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([\w.]+)`", r"`\1`", " ".join(text.split()))
    text = re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](../\1)", text)
    text = re.sub(r"`([^`<]+) <(http[^>]+)>`_", r"[\1](\2)", text)
    return text.replace("``", "`")


def sentence(text: str) -> str:
    """A sentence of that, unless it goes on with the option's name."""
    text = clean(text)
    first = text[:1] if GOES_ON.match(text) else text[:1].upper()
    return f"{first}{text[1:]}{'' if text.endswith('.') or not text else '.'}"
