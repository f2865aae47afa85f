"""The console command: its commands, what they are, and what it says of wrong ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supernet.command.arguments import Parser
from supernet.command.console import COMMANDS, DETECTOR_TEST, of_run
from supernet.command.early import listed, verbs_of

ROOT = Path(__file__).parents[3]


def mnasnet(*words, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "supernet.command.console", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_listed_command_has_a_name():
    named = {one.name for one in (*COMMANDS.values(), DETECTOR_TEST)}
    verbs = {f"{name} {verb}" for name in named for verb in verbs_of(name)}
    by_an_option = {"search.truth"}  # compare --truth
    assert named - {"supernet.latency"} | verbs | by_an_option == set(listed()["commands"])


def test_its_help_names_its_commands_and_the_shipped_configs(tmp_path):
    done = mnasnet("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert set(COMMANDS) <= set(done.stdout.split())
    assert "digits/search" in done.stdout
    assert len(done.stdout.splitlines()) <= 40


def test_its_version_is_that_of_the_package(tmp_path):
    assert mnasnet("--version", cwd=tmp_path).stdout.startswith("mnasnet-search ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["serach"], "invalid choice: 'serach' (choose from"),
        ([], "the following arguments are required: COMMAND (see mnasnet --help)"),
        (["size", "spaces/papr"], "closest are spaces/paper"),
        (["show", "mnasnet_a1", "--stem-stride", "2"], "did you mean --stem_stride? (see mnasnet"),
        (["search", "--rn", "r"], "did you mean --run? (see mnasnet search --help)"),
        (["retrain", "--run", "r"], "required: --model.arch (see mnasnet retrain --help)"),
        (["latency", "biuld"], "invalid choice: 'biuld'"),
        (["test", "--run", "nowhere"], "required: --model.arch"),
    ],
)
def test_wrong_words_are_one_line(words, line, tmp_path):
    done = mnasnet(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


def test_a_shipped_config_is_found_from_another_folder(tmp_path):
    done = mnasnet("size", "spaces/digits", "configs/spaces/paper.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "spaces/digits" in done.stdout


def test_a_test_takes_the_settings_of_its_run(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: {arch: mnasnet_a1}")
    own = ["-c", str(config)]
    words = ["--run", str(tmp_path), "--threads", "1"]
    assert of_run(words) == (COMMANDS["test"], [*own, *words])
    given = [f"--run={tmp_path}", "--config", "mine.yaml"]
    assert of_run(given) == (COMMANDS["test"], given)
    config.write_text("model: {arch: mnasnet_a1, ssdlite: {taps: [8]}}")
    assert of_run(words) == (DETECTOR_TEST, [*own, *words])
    for broken in ("model: [", "2", "model: 3"):
        config.write_text(broken)
        assert of_run(words)[0] == COMMANDS["test"]
    assert of_run(["--run"]) == (COMMANDS["test"], ["--run"])


def test_names_of_python_m_are_kept_where_it_has_started_a_command():
    assert Parser(prog="python -m search.rank").prog == "python -m search.rank"


def completions(line, cwd, tmp_path):
    """What a shell offers at the end of a line."""
    out = tmp_path / "offered"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
    }
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    mnasnet(cwd=cwd, **asked)
    return out.read_text().split("\n")


def test_a_shell_completes_commands_options_values_and_configs(tmp_path):
    pytest.importorskip("argcomplete", reason="completion needs mnasnet-search[completion]")
    assert completions("mnasnet ret", tmp_path, tmp_path) == ["retrain"]
    assert completions("mnasnet latency va", tmp_path, tmp_path) == ["validate"]
    offered = completions("mnasnet search --model.controller.pp", tmp_path, tmp_path)
    assert "--model.controller.ppo.clip" in offered
    assert completions("mnasnet search --model.cost m", tmp_path, tmp_path) == ["ms", "macs"]
    assert completions("mnasnet search -c digits/s", tmp_path, tmp_path) == ["digits/search"]
    assert completions("mnasnet export --quantize q", tmp_path, tmp_path) == ["qat"]
