"""The documents' commands are of today: their options parse, the files that they name exist."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KEPT = re.compile(r"(configs|benchmarks/results|tests)/\S+\.(yaml|jsonl?|py)$")
"""What of a command's words is a file of the repository."""
ARGPARSE = argparse.ArgumentParser
LIGHTNING = ("search", "retrain", "retrain.detect")


def commands(text):
    """Commands of a page, one line each, from its blocks and its sentences."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(r"`(python -m [^`]+)`", rest)
    return [" ".join(line.split()) for line in lines if line.startswith("python -m ")]


LINES = sorted({(page.name, line) for page in PAGES for line in commands(page.read_text())})


class ParsedError(Exception):
    """Raised in place of what a command would do."""


def parse_only(monkeypatch):
    """Let every command end once its options are parsed."""
    parse, parse_known = ARGPARSE.parse_args, ARGPARSE.parse_known_args
    inside = []

    def parse_and_leave(parser, *arguments, **named):
        inside.append(parser)
        parse(parser, *arguments, **named)
        raise ParsedError

    def parse_known_and_leave(parser, *arguments, **named):
        parsed = parse_known(parser, *arguments, **named)
        if inside:  # what is not known is refused by the other
            return parsed
        raise ParsedError

    monkeypatch.setattr(ARGPARSE, "parse_args", parse_and_leave)
    monkeypatch.setattr(ARGPARSE, "parse_known_args", parse_known_and_leave)


def test_there_are_commands_of_every_kind():
    modules = {line.split()[2] for _, line in LINES}
    assert {*LIGHTNING, "search.rank", "search.compare", "supernet", "pytest"} <= modules
    assert len([name for name in modules if name.startswith("benchmarks.")]) > 5


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_command_parses_and_names_files_that_exist(page, line, monkeypatch, capsys):
    module, words = line.split()[2], shlex.split(line)[3:]
    missing = [word for word in words if KEPT.match(word) and not (ROOT / word).exists()]
    assert not missing
    if module == "pytest":
        return
    monkeypatch.chdir(ROOT)
    if len(words) < 2:  # mentioned, not meant to be typed so
        words += ["--help"]
    elif module in LIGHTNING:  # which also reads the configs
        words += ["--print_config"] + ["--run", "r"] * ("--run" not in words)
    else:
        parse_only(monkeypatch)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises((ParsedError, SystemExit)) as leaving:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert getattr(leaving.value, "code", 0) == 0, capsys.readouterr().err
