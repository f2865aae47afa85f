"""Answers before torch loads: help on one screen, wrong words in one line, both at once."""

import importlib.metadata
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from supernet.command.early import EarlyParser, answer_early, listed, with_shipped
from supernet.errors import UserError

ROOT = Path(__file__).parents[3]
SCREEN = 40
LIMIT_S = 2.0


def test_the_list_says_of_each_option_what_it_means():
    assert [one["names"] for one in listed()["options"] if not one["about"]] == []
    told = {one["names"][-1]: one for one in listed()["options"] if "search fit" in one["commands"]}
    space = told["--model.space.kernels"]
    assert (space["type"], space["default"]) == ("list of int", [3, 5])
    assert space["section"].startswith("model.space: ")


@pytest.mark.parametrize("command", listed()["commands"])
def test_help_fits_one_screen(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert 3 < len(EarlyParser(command).format_help().splitlines()) <= SCREEN


QUICK = {
    "search --help": (0, "choose"),
    "search fit --help": (0, "--model.target"),
    "retrain test --help": (0, "--model.arch"),
    "search.rank --help": (0, "--supernet"),
    "search fit --help all": (0, "--model.space.kernels"),
    "search fti": (2, "invalid choice: 'fti'"),
    "search fit -c digits/serch": (2, "closest are digits/search"),
    "search fit -c digits/search --model.tarjet 3": (2, "did you mean --model.target?"),
    "retrain fit -c digits/retrain --run r": (2, "are required: --model.arch"),
    "retrain.export --rn r": (2, "did you mean --run?"),
    "retrain.card --run r --licence mit": (2, "did you mean --license?"),
    "search.compare -c digits/retrain --controllers ppoo": (2, "invalid choice: 'ppoo'"),
}


@pytest.mark.parametrize("line", QUICK)
def test_help_and_wrong_words_are_answered_before_torch_loads(line):
    status, words = QUICK[line]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *line.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status
    told = done.stdout if status == 0 else done.stderr.splitlines()[-1]
    assert words in told
    assert "| torch" not in done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < LIMIT_S


SEARCH = "fit -c digits/search"
REFUSED = {
    f"{SEARCH} --model.cost watts": r"--model.cost: invalid choice: 'watts'",
    f"{SEARCH} --threads two": r"--threads: 'two' is not a number",
    f"{SEARCH} --trainer.max_step 3": r"did you mean --trainer.max_steps\?",
    f"{SEARCH} --run-name x": r"unrecognized arguments: --run-name x",
    "fit fit --run x": r"'fit' is no option: all begin with --",
    f"{SEARCH} --dat.root x": r"unrecognized arguments: --dat.root x",
    "fit --run": "expected one argument",
    "fit --trainer.max_steps 3": "are required: --run",
    "tune": "invalid choice: 'tune'",
    "": "are required: fit or choose",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_command_has_not_is_refused(line):
    with pytest.raises(UserError, match=REFUSED[line]):
        answer_early("search", line.split())


@pytest.mark.parametrize(
    "line",
    [
        SEARCH,  # which names a run
        "fit --run r -c a.yaml",
        "fit --run r --data ImageFolder --data.root=images --data.init_args.val_share .1",
        "fit --run r --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor x",
        "fit --run r --trainer.limit_val_batches null --model.space.layers [-1,0]",
        "fit --run r --trainer.max_epochs -1 --dry_run --trust my.images --trust my.nets",
        "fit --data.help ImageFolder",
        "fit --print_config",
        "--config all.yaml fit",
    ],
)
def test_what_it_has_is_left_to_it(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(
        "model: {target: 3}\ndata: {class_path: my.Images}\ntrainer.devices: 2"
    )
    assert answer_early("search", line.split()) == line.split()


@pytest.mark.parametrize("command", ["search.rank", "search.compare"])
def test_one_config_is_a_file_as_several_are(command):
    words = ["-c", "configs/digits/retrain.yaml", "--run", "r"]
    assert answer_early(command, words) == words


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("model: {space: {widht: 3}}", "'model.space.widht'; did you mean model.space.width?"),
        ("modle: {}", "'modle'; did you mean model?"),
        ("data: Digits\nthread: 1", "'thread'; did you mean threads?"),
    ],
)
def test_a_setting_that_there_is_not_is_named_with_its_file(content, reason, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as refused:
        answer_early("search", ["fit", "--run", "r", "-c", str(file)])
    assert str(refused.value) == f"{file}: there is no setting {reason}"


@pytest.mark.parametrize("content", ["- 1", "a: [", "", "2"])
def test_what_is_no_config_is_left_to_the_command(content, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    words = ["fit", "--run", "r", "-c", str(file)]
    assert answer_early("search", words) == words


HEAVY = ("search fit", "retrain", "search.rank", "search.compare")
"""Beginnings of commands that load torch."""


@pytest.mark.parametrize("command", [one for one in listed()["commands"] if one.startswith(HEAVY)])
def test_all_of_the_help_tells_of_every_option(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    module, *verb = command.split(" ")
    with pytest.raises(SystemExit) as leaving:
        answer_early(module, [*verb, "--help", "all"])
    assert leaving.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    known = [one for one in listed()["options"] if command in one["commands"]]
    assert all(name in words for one in known for name in one["names"])
    assert all(" ".join(one["about"].split()[:3]) in words for one in known if "about" in one)


def test_all_of_the_help_tells_types_and_defaults_by_section(capsys):
    with pytest.raises(SystemExit):
        answer_early("search", ["fit", "-h", "all"])
    text = capsys.readouterr().out
    words = " ".join(text.split())
    assert "model.sampling: what the controller is rewarded by, and how often it is asked:" in text
    assert "Weight steps between two updates from slices. (int; default: 8)" in words
    assert "--wandb.mode {offline,online,disabled}" in words


def test_with_other_versions_all_of_the_help_is_the_commands_own(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    assert answer_early("search", ["fit", "--help", "all"]) == ["fit", "--help"]


def test_with_other_versions_all_is_left_to_the_command(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    words = ["fit", "--model.tarjet", "3"]
    assert answer_early("search", words) == words


def test_a_config_may_name_a_shipped_space_or_a_file_beside_it(tmp_path):
    config = tmp_path / "mine.yaml"
    (tmp_path / "own.yaml").touch()
    for space in ("spaces/cifar", "own.yaml", "{width: 0.5}"):
        config.write_text(f"model: {{space: {space}}}")
        answer_early("search", ["fit", "--run", "x", "--data", "Digits", "-c", str(config)])
    config.write_text("model: {space: spaces/cifr}")
    said = r"mine\.yaml: spaces/cifr is no file, .* closest are spaces/cifar, "
    with pytest.raises(UserError, match=said):
        answer_early("search", ["fit", "-c", str(config)])
    with pytest.raises(UserError, match=r"^spaces/cifr is no file, .* closest are spaces/cifar, "):
        with_shipped(["--model.space=spaces/cifr"])


def test_names_of_configs_become_their_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ROOT / "configs"
    search, space = folder / "digits" / "search.yaml", folder / "spaces" / "cifar.yaml"
    Path("own.yaml").touch()
    line = "fit -c digits/search --config=digits/search -cdigits/search --model.space spaces/cifar"
    named = f"fit -c {search} --config={search} -c{search} --model.space {space}"
    assert with_shipped(line.split()) == named.split()
    kept = [
        "-c",
        "own.yaml",
        "-c",
        "run: x",
        "--run",
        "digits/search",
        "--model.space",
        "{width: 1}",
    ]
    assert with_shipped(kept) == kept
