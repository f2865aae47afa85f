"""The console command ``mnasnet``: commands of ``python -m``, by the names that a user guesses."""

import argparse
import importlib.metadata
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supernet.command.arguments import Parser
from supernet.command.early import CONFIG, EarlyParser, verbs_of
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.files.reading import read_yaml
from supernet.files.shipped import shipped_configs

PACKAGE = "mnasnet-search"


class Command(NamedTuple):
    """A command of ``python -m MODULE VERB``."""

    module: str
    verb: str
    summary: str = ""

    @property
    def name(self) -> str:
        """As the list of options has it."""
        return f"{self.module} {self.verb}".strip()


COMMANDS = {
    "check-data": Command("supernet", "check-data", "look at a folder of images before a run"),
    "plan": Command("search.plan", "", "what search and retraining would take, and their configs"),
    "search": Command("search", "fit", "find a network for images and a device"),
    "choose": Command("search", "choose", "networks for other targets from a finished search"),
    "retrain": Command("retrain", "fit", "train a network from scratch"),
    "test": Command("retrain", "test", "test a trained network or detector"),
    "summary": Command("retrain.summary", "", "what a run found, and where it lies"),
    "report": Command("supernet", "report", "write report.html, a page of what a run has found"),
    "export": Command("retrain.export", "", "ship a trained network as files, also in int8"),
    "card": Command("retrain.card", "", "make a folder for a hub, with a model card"),
    "detect": Command("retrain.detect", "fit", "train a network to find objects"),
    "latency": Command("supernet.latency", "", "build, validate or show a table of a device"),
    "show": Command("supernet", "show", "print a network's parts, shapes and costs"),
    "networks": Command("supernet", "compare", "print networks side by side"),
    "size": Command("supernet", "size", "count the networks of search spaces"),
    "rank": Command("search.rank", "", "measure how well a search ranks networks"),
    "compare": Command("search.compare", "", "measure what a search gains over chance"),
    "paper": Command("search.paper", "", "repeat an experiment of MnasNet's paper"),
}
DETECTOR_TEST = Command("retrain.detect", "test")


def main() -> None:
    """Run the command that the process's words name."""
    if "_ARGCOMPLETE" in os.environ:
        run_command(_complete)
    name, words = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name not in COMMANDS:
        run_command(lambda: _parser().parse_args())
        return
    command = COMMANDS[name]
    if name == "test":
        command, words = of_run(words)
    Parser.console_names = {
        "python -m supernet": "mnasnet",
        "python -m search.truth": "mnasnet compare --truth TABLE",
        **{f"python -m {one.name}": f"mnasnet {name}" for name, one in COMMANDS.items()},
    }
    sys.argv[1:] = [*command.name.split(" ")[1:], *words]
    # As ``python -m`` does, but at the end, where a folder named search hides nothing.
    sys.path.append(str(Path.cwd()))
    # As ``__main__``, by which a training starts itself anew for every further GPU.
    runpy.run_module(command.module, run_name="__main__", alter_sys=True)


def of_run(words: Sequence[str]) -> tuple[Command, list[str]]:
    """What tests the run that words of ``test`` name: a network, or a detector.

    Returns:
        The command and its words, with the settings of the run where none are given.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--run", nargs="?", default="")
    parser.add_argument(*CONFIG, action="append", nargs="?")
    given, _ = parser.parse_known_args(words)
    config = Path(given.run or "").expanduser() / "config.yaml"
    try:
        settings = read_yaml(config, "")
    except UserError:
        return COMMANDS["test"], list(words)  # which says what is wrong
    model = settings.get("model") if isinstance(settings, dict) else None
    is_detector = isinstance(model, dict) and "ssdlite" in model
    own = [] if given.config else ["-c", str(config)]
    return DETECTOR_TEST if is_detector else COMMANDS["test"], [*own, *words]


def _parser() -> Parser:
    """The command's own help and version, and its commands with their options."""
    configs = ", ".join(shipped_configs())
    parser = Parser(
        prog="mnasnet",
        description="Find, train and ship a network for your images and your device.",
        epilog=f"-c takes a yaml file or one of: {configs}. Each command has --help.",
    )
    parser.add_argument("--version", action="version", version=_versions())
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=EarlyParser)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.summary, command=command.name)
        if verbs := verbs_of(command.name):
            inner = one.add_subparsers(parser_class=EarlyParser)
            for verb in verbs:
                inner.add_parser(verb, command=f"{command.name} {verb}")
    return parser


def _versions() -> str:
    named = (f"{name} {importlib.metadata.version(name)}" for name in (PACKAGE, "torch"))
    return f"{', '.join(named)}, Python {sys.version.split()[0]}"


def _complete() -> None:
    """Answer a shell that asks how a line may go on.

    Raises:
        UserError: where what answers is not installed.
    """
    try:
        import argcomplete
    except ImportError:
        raise UserError(f"completion needs `pip install {PACKAGE}[completion]`") from None

    class Values(argcomplete.FilesCompleter):
        """Files, and the configs that ship where an option takes their names."""

        def __call__(self, prefix: str, **asked: Any) -> list[str]:
            action: argparse.Action = asked["action"]
            takes_names = {"--config", "--space", "--model.space", "spaces"} & {
                *action.option_strings,
                action.dest,
            }
            names = shipped_configs() if takes_names else ()
            return [*super().__call__(prefix), *(name for name in names if name.startswith(prefix))]

    argcomplete.autocomplete(_parser(), default_completer=Values(), print_suppressed=True)


if __name__ == "__main__":
    main()
