"""The options of all commands: ``python -m docs.options``.

Writes supernet/command/options.json, from which help and wrong names are answered before torch is
there, and the pages of docs/reference that list them. They are read from the parsers themselves; a
test checks that they are of today's code.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import runpy
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin
from unittest import mock

import jsonargparse
from jsonargparse._actions import _ActionConfigLoad, _ActionHelpClassPath, _ActionPrintConfig
from jsonargparse._typehints import ActionTypeHint

from docs.option_types import type_words
from docs.reference_pages import pages
from supernet.command.arguments import Parser
from supernet.command.early import OPTIONS
from supernet.run.cli import CLI

VERSIONS = ("jsonargparse", "pytorch-lightning")
"""Packages whose parsers and classes decide what options there are."""
WORDS = {
    "config": "a yaml file, or a shipped config by name; several: the later one wins",
    "run": "folder of the run, made anew",
    "model.arch": "what a search found, or a published network such as mnasnet_a1",
    "model.target": "at most this cost: 12, p40, '0.8x mnasnet_a1', or a list of them",
    "model.cost": "what is limited: ms (the default), macs or params",
    "model.table": "latency table of a device, instead of measuring this machine",
    "model.constraints": "further limits: '[{cost: params, limit: 4e6}]'",
    "model.space": "what networks can be, such as spaces/paper",
    "model.controller.kind": "ppo (the default), reinforce, tunas, evolution, random ...",
    "model.init": "what weights start from: timm, or supernet:FILE",
    "model.recipe.lr": "learning rate for 256 images a step",
    "data": "class of the images, such as ImageFolder; its arguments are --data.root DIR ...",
    "trainer.max_steps": "length of the run in optimizer steps",
    "trainer.max_epochs": "the same in passes over the images",
    "trainer.accelerator": "cpu, gpu, mps, or auto (the default)",
    "trainer.devices": "how many of them",
    "trainer.precision": "32-true (the default), bf16-mixed or 16-mixed",
    "threads": "CPU threads of each process",
    "seed_everything": "fixes every draw (0)",
    "ckpt_path": "a checkpoint to go on from: last, or a file",
    "trust": "a module that yaml files may name classes of",
    "wandb.mode": "offline (the default), online or disabled",
    "dry_run": "only try each part of the run; leaves no file",
    "print_config": "print all settings in place of a run",
}
"""What the first page of help says of options of Lightning's commands; it shows no others."""
NOT_OF_TESTS = (
    "trainer.max_steps",
    "trainer.max_epochs",
    "model.init",
    "model.recipe.lr",
    "seed_everything",
)
RANK = (
    *("config", "root", "supernet", "space", "networks", "seed", "seeds", "steps", "bands"),
    "cost",
    *("table", "policy", "processes", "cache", "run", "trust"),
)
"""Options of a command with many more, which its first page shows."""
OWN_WORDS = ("config", "ckpt_path", "data", "print_config")
"""Options of Lightning's of which those words are all that is said."""
HEAVY = {
    "search fit": "Find a network for images and a device.",
    "retrain fit": "Train an architecture from scratch, without a weight of the search.",
    "retrain test": "Test a trained network on images that no training has seen.",
    "retrain.detect fit": "Train a network to find and name objects, with SSDLite.",
    "retrain.detect test": "Test a trained detector by COCO's average precision.",
    "retrain.export": "",
    "retrain.card": "",
    "search.rank": "",
    "search.compare": "",
    "search.paper": "",
    "search.truth": "",
}
"""Commands that load torch, and what they are for; empty: what their parser says."""
LIGHT = {
    "search choose": "Choose networks for other targets from a finished search.",
    "retrain.summary": "",
    "search.plan": "",
    **dict.fromkeys(
        (
            *("supernet show", "supernet compare", "supernet size", "supernet check-data"),
            "supernet report",
            *("supernet.latency build", "supernet.latency validate", "supernet.latency show"),
        ),
        "",
    ),
}
"""Commands that answer by themselves before torch loads: what a shell completes needs these too."""
METAVARS = {
    "config": "CONFIG",
    "run": "FOLDER",
    "data": "CLASS",
    "model.arch": "FILE|NAME",
    "model.space": "CONFIG",
    "model.table": "FILE",
    "trainer.max_steps": "N",
    "trainer.max_epochs": "N",
    "trainer.devices": "N",
    "threads": "N",
    "seed_everything": "N",
}
"""What the value of an option is called on that page."""


LIGHTNING = (ActionTypeHint, jsonargparse.ActionConfigFile, _ActionConfigLoad, _ActionPrintConfig)
"""Options of Lightning's commands, which describe themselves at length."""


class _SeenError(Exception):
    """Hands over a parser in place of what it would do."""


@cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, such as ``search fit`` or ``retrain.export``."""
    module, _, verb = command.partition(" ")

    def leave(parser: Any, *_: Any, **__: Any) -> None:
        raise _SeenError(parser)

    def leave_lightning(cli: CLI, *_: Any) -> None:
        raise _SeenError(cli._subcommand_parsers[verb])

    with (
        mock.patch.object(Parser, "parse_args", leave),
        mock.patch.object(Parser, "parse_known_args", leave),
        mock.patch.object(CLI, "parse_arguments", leave_lightning),
        mock.patch.object(sys, "argv", [module, *([verb] if verb else []), "--help"]),
        mock.patch("supernet.command.early.answer_early", lambda _, words: list(words)),
    ):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _SeenError as seen:
            return _of_verb(seen.args[0], verb)
    raise RuntimeError(f"{command} has parsed nothing")


def _of_verb(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    commands = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return commands[0].choices[verb] if commands else parser


def options_of(command: str) -> Iterator[dict[str, Any]]:
    """What the list says of each option of a command, those of its first page first."""
    parser = parser_of(command)
    usual = _usual(command)
    order = {name: place for place, name in enumerate(usual)}
    for action in sorted(parser._actions, key=lambda one: order.get(one.dest, len(order))):
        # Others are links between settings, and --data+, which adds to what --data has given.
        names = [one.removesuffix(".NAME") for one in action.option_strings or [action.dest]]
        names = [one for one in names if re.fullmatch(r"-{0,2}[\w.]+", one)]
        if names and action.dest != "help":
            told = {"names": names, **_form(action), **_values(action)}
            if action.dest in getattr(parser, "required_args", ()) or (
                action.required and action.option_strings
            ):
                told["is_required"] = True
            is_usual = action.dest in usual or (command in HEAVY and not usual)
            yield told | (_help(action) if is_usual else {}) | told_at_length(parser, action)


def _usual(command: str) -> tuple[str, ...]:
    """Settings of which the first page tells; where it names none, all."""
    if command == "search.rank":
        return RANK
    if not HEAVY.get(command):
        return ()
    is_test = command.endswith(" test")
    return tuple(name for name in WORDS if not (is_test and name in NOT_OF_TESTS))


def _form(action: argparse.Action) -> dict[str, Any]:
    """How many words an option takes."""
    if isinstance(action, argparse._StoreTrueAction):
        return {"action": "store_true"}
    if isinstance(action, (argparse._AppendAction, jsonargparse.ActionConfigFile)):
        return {"action": "append"}
    if isinstance(action, (_ActionPrintConfig, _ActionHelpClassPath)):
        return {"nargs": "?"}
    return {} if action.nargs is None else {"nargs": action.nargs}


def _values(action: argparse.Action) -> dict[str, Any]:
    """Which values an option takes, as far as they can be told without making anything of them."""
    kind = getattr(action, "_typehint", action.type)
    if get_origin(kind) is Literal or action.choices:
        return {"choices": [str(one) for one in action.choices or get_args(kind)]}
    kinds = [one for one in get_args(kind) or (kind,) if one is not NoneType]
    if all(isinstance(one, type) and issubclass(one, (int, float)) for one in kinds):
        return {} if bool in kinds else {"is_number": True}
    has_parts = action.dest == "_" or isinstance(action, ActionTypeHint)
    return {"has_parts": True} if has_parts and not {*kinds} <= {str, bool, int, Path} else {}


def _help(action: argparse.Action) -> dict[str, Any]:
    """What the first page says of an option."""
    if not isinstance(action, LIGHTNING):
        metavar = ".NAME VALUE" if action.dest == "_" else action.metavar
        told = {"help": action.help, "metavar": metavar}
        return {name: value for name, value in told.items() if value}
    return {"help": WORDS[action.dest], "metavar": METAVARS.get(action.dest, "VALUE")}


def told_at_length(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    """What ``--help all`` and the reference say of an option: section, type, default, meaning.

    Defaults are written as in a yaml file; one that is null, or that there is not, is left out.
    """
    default = None if action.default == argparse.SUPPRESS else action.default
    told = {
        "section": _section(parser, action),
        "type": type_words(getattr(action, "_typehint", action.type)),
        "default": json.loads(json.dumps(default, default=str)),
        "about": " ".join((action.help or "").split()),
    }
    if isinstance(action, LIGHTNING) and action.dest in OWN_WORDS:
        told["about"] = WORDS[action.dest]
    return {name: value for name, value in told.items() if value not in (None, "")}


def _section(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Name and title of the section of a config that a setting is of; empty where it is of none."""
    group = next(one for one in parser._action_groups if action in one._group_actions)
    if action.dest in ("data", "data.help"):
        return "data: images"
    names = [one.dest for one in group._group_actions if isinstance(one, _ActionConfigLoad)]
    titles = {"trainer": "PyTorch Lightning's Trainer"}
    return "".join(f"{name}: {titles.get(name, group.title)}" for name in names)


def text(found: Mapping[str, Iterable[dict[str, Any]]]) -> str:
    """The list as JSON, with a line for each option; those of several commands stand in it once.

    Args:
        found: the options of each command.
    """
    options: dict[str, dict[str, Any]] = {}
    for command, those in found.items():
        for told in those:
            known = options.setdefault(json.dumps(told), {**told, "commands": []})
            known["commands"].append(command)
    head = {
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "commands": {command: _description(command) for command in found},
    }
    lines = ",\n".join(map(json.dumps, options.values()))
    return f'{json.dumps(head, indent=1)[:-2]},\n "options": [\n{lines}\n]}}\n'


def _description(command: str) -> str:
    told = (HEAVY | LIGHT)[command]
    if told or command in LIGHT:
        return told
    return " ".join((parser_of(command).description or "").split())


def files() -> Iterator[tuple[Path, str]]:
    """All that is written, and its text: the list, and pages of the reference."""
    found = {command: list(options_of(command)) for command in (*HEAVY, *LIGHT)}
    yield OPTIONS, text(found)
    yield from pages(found)


if __name__ == "__main__":
    Parser(prog="python -m docs.options", description=__doc__).parse_args()
    for path, told in files():
        path.write_text(told, encoding="utf-8")
