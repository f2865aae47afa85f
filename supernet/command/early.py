"""Early answers: help, wrong names and missing files of commands that load torch, before they do.

torch and Lightning take seconds to load, and only then is there a parser that knows every option.
``options.json`` is a list of what these parsers know, which ``python -m docs.options`` writes. It
is of one version of the libraries: with others, all is left to the parsers themselves.
"""

import argparse
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from supernet.command.arguments import Parser, closest_option
from supernet.errors import UserError
from supernet.files.reading import parse_yaml, read_text
from supernet.files.shipped import config_file

OPTIONS = Path(__file__).with_name("options.json")
CONFIG = ("-c", "--config")
NAMED_FILES = (*CONFIG, "--model.space")
"""Options of Lightning's commands whose value may be the name of a shipped config."""
WHOLE_HELP = (["--help", "all"], ["-h", "all"])
ENDS = re.compile(r"--print_config|.*\.help$")
"""Options that print something in place of a run, which needs none of those that are required."""
ARGUMENT = ("action", "nargs", "choices", "metavar", "help")
"""What the list says of an option as argparse does."""
OPTION = re.compile(r"--?[A-Za-z]")


@cache
def listed() -> dict[str, Any]:
    """The content of the list: versions, commands, and options with the commands that have them."""
    return json.loads(OPTIONS.read_text(encoding="utf-8"))


def is_current() -> bool:
    """Whether the list is of the libraries that are installed."""
    versions = listed()["versions"]
    return versions == {name: importlib.metadata.version(name) for name in versions}


def answer_early(module: str, words: Sequence[str]) -> list[str]:
    """Print the help that is asked for, or refuse what the command ``python -m MODULE`` has not.

    Returns:
        The words for the command's own parser: with ``--help`` for ``--help all``, where the list
        is of other libraries.

    Raises:
        UserError: for a verb or an option that there is not, a value that is no number or none of
            those allowed, a config that is no file, a setting in it that there is not, and an
            option that is missing.
        SystemExit: after the help.
    """
    words = list(words)
    is_whole = words[-2:] in WHOLE_HELP
    if is_whole:
        del words[-1]
    verbs = verbs_of(module)
    verb = words[0] if verbs and words else ""
    if not is_current() or (verb.startswith("-") and verb not in ("-h", "--help")):
        return words  # Lightning takes options in front of a verb, too
    if verbs and verb not in verbs:
        _verbs_parser(module, verbs).parse_args(words)
    command = f"{module} {verb}".strip()
    parser = WholeParser(command) if is_whole else EarlyParser(command)
    _check(parser, words[1:] if verbs else words)
    return words


def verbs_of(module: str) -> list[str]:
    """What ``python -m MODULE`` takes as its first word."""
    names = [name.split(" ") for name in listed()["commands"]]
    return [verb for name, *verbs in names for verb in verbs if name == module]


def _verbs_parser(module: str, verbs: Sequence[str]) -> Parser:
    parser = Parser(prog=f"python -m {module}", epilog="Each of them has --help.")
    commands = parser.add_subparsers(required=True, metavar=" or ".join(verbs))
    for verb in verbs:
        commands.add_parser(verb, help=listed()["commands"][f"{module} {verb}"])
    return parser


class WideNames(argparse.HelpFormatter):
    """Help with room for long options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class EarlyParser(Parser):
    """The options of a command, without what makes something of them.

    Args:
        command: such as ``search fit`` or ``retrain.export``.
        prog: what it is called, by default with ``python -m``.
    """

    def __init__(self, command: str, prog: str = "") -> None:
        super().__init__(
            prog=prog or f"python -m {command}",
            description=listed()["commands"].get(command),
            epilog="--help all prints every option",
            usage="%(prog)s [--OPTION VALUE ...]",
            formatter_class=WideNames,
        )
        self.known = [one for one in listed()["options"] if command in one["commands"]]
        self.sections: dict[str, argparse._ActionsContainer] = {}
        for one in self.known:
            if "--help" not in one["names"]:
                self._add(one)
        self.names = {name for one in self.known for name in one["names"]}
        self.open = {name for one in self.known if one.get("has_parts") for name in one["names"]}
        """Options whose value may have parts, which are options too: ``--data.root``."""

    def _add(self, one: Mapping[str, Any]) -> None:
        told = {name: one[name] for name in ARGUMENT if name in one}
        if one.get("is_number"):
            told["type"] = _number
        self._place(one).add_argument(*one["names"], **({"help": argparse.SUPPRESS} | told))

    def _place(self, one: Mapping[str, Any]) -> argparse._ActionsContainer:
        """Where an option stands in the help."""
        return self

    def required(self) -> Iterator[str]:
        """Options without which, here or in a config, the command does nothing."""
        return (one["names"][-1] for one in self.known if one.get("is_required"))


class WholeParser(EarlyParser):
    """The options of a command, of which the help tells all that there is to say."""

    def __init__(self, command: str) -> None:
        super().__init__(command)
        self.epilog = "--NAME.help CLASS prints the arguments of a class that a setting NAME takes"

    def _add(self, one: Mapping[str, Any]) -> None:
        told = {**one, "help": _at_length(one)}
        if "choices" in one:
            told.pop("metavar", None)  # they are named in its place
        elif one.get("action") != "store_true":
            told.setdefault("metavar", "VALUE")
        super()._add(told)

    def _place(self, one: Mapping[str, Any]) -> argparse._ActionsContainer:
        """Each section of a config has one of the help."""
        title = one.get("section", "")
        if title and title not in self.sections:
            self.sections[title] = self.add_argument_group(title)
        return self.sections.get(title, self)


def _at_length(one: Mapping[str, Any]) -> str:
    """Meaning, type and default of an option; argparse puts values in where a % is."""
    kind = () if "choices" in one else (one.get("type"),)
    default = (f"default: {_as_written(one['default'])}",) if "default" in one else ()
    facts = "; ".join(filter(None, (*kind, *default)))
    return f"{one.get('about', '')}{f' ({facts})' if facts else ''}".strip().replace("%", "%%")


def _as_written(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def _number(text: str) -> str:
    """A word that is a number, or none at all."""
    if text not in ("null", "None"):
        try:
            float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    return text


def _check(parser: EarlyParser, words: Sequence[str]) -> None:
    """Refuse words that a parser has not, and files whose settings it has not."""
    given, others = parser.parse_known_args(words)
    # Only in front of all options: what stands behind one may be its value.
    if others and others[0] == words[0] and not words[0].startswith("-"):
        parser.error(f"{words[0]!r} is no option: all begin with --, as in --run DIR")
    for word in others:
        if OPTION.match(word) and not _is_part(word, parser.open):
            parser.error(f"unrecognized arguments: {' '.join(others[others.index(word) :])}")
    found = {name for name, value in vars(given).items() if value is not None}
    told = getattr(given, "config", None) or []
    for path in [told] if isinstance(told, str) else told:
        if _is_file_name(path):
            found |= set(_settings(parser, path))
    missing = [name for name in parser.required() if name.lstrip("-") not in found]
    if missing and not any(ENDS.match(word) for word in words):
        parser.error(f"the following arguments are required: {', '.join(missing)}")


def _is_part(word: str, whole: set[str]) -> bool:
    """Whether an option names a part of one of those."""
    name = word.partition("=")[0]
    return any(name.startswith((f"{one}.", f"{one}+")) for one in whole)


def _is_file_name(value: str) -> bool:
    """Whether the value of ``--config`` names a file: it may also be the settings themselves."""
    return not any(letter in value for letter in "{:\n")


def _settings(parser: EarlyParser, path: str) -> Iterator[str]:
    """The settings of a config by their places; what is no config is left to the command."""
    file = config_file(path)
    if "--trainer" not in parser.names or not file.is_file():
        return
    try:
        content = parse_yaml(read_text(file, "name a yaml file"))
    except (UserError, yaml.YAMLError):
        return
    if isinstance(content, dict):
        yield from _places(parser, content, "", file)


def _places(
    parser: EarlyParser, content: Mapping[Any, Any], place: str, file: Path
) -> Iterator[str]:
    for name, value in content.items():
        option = f"--{place}{name}"
        is_group = any(other.startswith(f"{option}.") for other in parser.names)
        is_class = name in ("class_path", "init_args")  # which any section may be
        if option not in parser.names and not is_group and not is_class:
            near = closest_option(option, parser.names).replace("--", "")
            raise UserError(f"{file}: there is no setting '{place}{name}'{near}")
        if f"--{place}{name}" in NAMED_FILES and isinstance(value, str):
            _check_named(value, file)
        yield f"{place}{name}"
        if isinstance(value, dict) and option not in parser.open:
            yield from _places(parser, value, f"{place}{name}.", file)


def _check_named(value: str, file: Path) -> None:
    """Refuse a name of a file, in a config, that is neither a file nor that of a shipped one."""
    try:
        config_file(value, file.parent)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def with_shipped(words: Sequence[str]) -> list[str]:
    """Words of a command line in which names of shipped configs have become their paths.

    Raises:
        UserError: for a config that is neither a file nor the name of a shipped one.
    """
    found, option = list[str](), ""
    for word in words:
        name, equals, value = word.partition("=")
        if option in NAMED_FILES and _is_file_name(word):
            word = str(config_file(word))
        elif name in NAMED_FILES and equals and _is_file_name(value):
            word = f"{name}={config_file(value)}"
        elif re.match("-c.", word) and _is_file_name(word):
            word = f"-c{config_file(word[2:])}"
        option = word
        found.append(word)
    return found
