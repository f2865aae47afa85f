"""The documents' commands and links are of today: they parse, what they name exists."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from search.settings import Final, Sampling, Schedule, SurrogateSettings, tuning_lengths
from supernet.command.console import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
KEPT = re.compile(r"(configs|benchmarks/results|tests)/\S+\.(yaml|jsonl?|py)$")
"""What of a command's words is a file of the repository."""
WRITTEN = re.compile(r"runs/[\w-]+/(search|retrain|config|space)\.yaml")
"""A config that a plan or a search writes."""
SHIPPED = {
    "search": "photos/search",
    "config": "photos/search",
    "retrain": "photos/retrain",
    "space": "spaces/paper",
}
"""Shipped configs that have the same settings."""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
"""A link within the repository: to a file, if it is another one, and to a heading, if to one."""
ARGPARSE = argparse.ArgumentParser
LIGHTNING = ("search", "retrain", "retrain.detect")


def commands(text):
    """Commands of a page, one line each, from its blocks and its sentences."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [line.removeprefix("srun ") for line in lines]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(r"`((?:python -m|mnasnet) [^`]+)`", rest)
    return [" ".join(line.split()) for line in lines if line.startswith(("python -m ", "mnasnet "))]


def module_and_words(line):
    """The module that a command runs, and the words that it gets."""
    program, name, *words = shlex.split(line)
    if program == "python":
        return words[0], words[1:]
    if name not in COMMANDS:
        return "supernet.command.console", [name, *words]
    return COMMANDS[name].module, [*COMMANDS[name].name.split(" ")[1:], *words]


def name_of(page):
    """Path of a page, as a test names it."""
    return str(page.relative_to(ROOT))


LINES = sorted({(name_of(page), line) for page in PAGES for line in commands(page.read_text())})


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
    modules = {module_and_words(line)[0] for _, line in LINES}
    assert {*LIGHTNING, "search.rank", "search.compare", "supernet", "pytest"} <= modules
    assert {f"mnasnet {name}" for name in COMMANDS} <= {
        " ".join(line.split()[:2]) for _, line in LINES
    }
    assert len([name for name in modules if name.startswith("benchmarks.")]) > 5


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_command_parses_and_names_files_that_exist(page, line, monkeypatch, capsys):
    module, words = module_and_words(line)
    missing = [word for word in words if KEPT.match(word) and not (ROOT / word).exists()]
    assert not missing
    if module == "pytest":
        return
    monkeypatch.chdir(ROOT)
    words = [WRITTEN.sub(lambda name: SHIPPED[name[1]], word) for word in words]
    if len(words) < 2:  # mentioned, not meant to be typed so
        words += ["--help"]
    elif module in LIGHTNING and words[0] != "choose":  # which also reads the configs
        words += ["--print_config"] + ["--run", "r"] * ("--run" not in words)
    else:
        parse_only(monkeypatch)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises((ParsedError, SystemExit)) as leaving:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert getattr(leaving.value, "code", 0) == 0, capsys.readouterr().err


def anchors(page):
    """What links call a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for name, anchor in LINK.findall(text):
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), name
        assert not anchor or anchor in anchors(file), f"{name}#{anchor}"


def lengths_of(config, total):
    """Shared steps of a search, steps of a label and of a finalist, by a config."""
    model = config["model"]
    schedule, surrogate, final = (
        kind(**model.get(name, {}))
        for name, kind in (
            ("schedule", Schedule),
            ("surrogate", SurrogateSettings),
            ("final", Final),
        )
    )
    shared = schedule.shared_steps(total, "tuned")
    final = final.settled("tuned")
    return [shared, *tuning_lengths(total - shared, "tuned", surrogate, final, 1)]


def test_the_lengths_that_the_method_names_are_those_of_the_configs():
    page = (ROOT / "docs/search-method.md").read_text()
    rows = re.findall(r"^\| (configs/\w+)[^|]*\|" + r" ([\d,]+) \|" * 4, page, flags=re.MULTILINE)
    assert len(rows) == 4
    for folder, *cells in rows:
        total, *lengths = [int(cell.replace(",", "")) for cell in cells]
        config = yaml.safe_load((ROOT / folder / "search.yaml").read_text())
        assert config["trainer"].get("max_steps", total) == total
        assert lengths_of(config, total) == lengths


def test_the_defaults_that_the_method_names_are_todays():
    page = (ROOT / "docs/search-method.md").read_text()
    defaults = {
        "surrogate": SurrogateSettings(),
        "final": Final().settled("tuned"),
        "sampling": Sampling(),
    }
    named = re.findall(r"`(surrogate|final|sampling)\.(\w+)` \((\d+)\)", " ".join(page.split()))
    assert len(named) > 5
    for section, name, value in named:
        assert getattr(defaults[section], name) == int(value), f"{section}.{name}"


@pytest.mark.parametrize("name", ["lab-notebook.md", "search-quality.md"])
def test_every_raw_file_that_a_result_names_is_kept(name):
    named = set(
        re.findall(r"\bclutter-[\w-]+\.json\b|[\w-]+\.jsonl", (ROOT / "docs" / name).read_text())
    )
    assert named
    assert named <= {path.name for path in (ROOT / "benchmarks/results").iterdir()}


@pytest.mark.parametrize("folder", ["search", "supernet", "retrain", "benchmarks", "tests"])
def test_every_document_that_the_code_names_exists(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    named = {name for file in files for name in re.findall(r"\bdocs/\S+?\.md", file.read_text())}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
