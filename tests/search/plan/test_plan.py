"""A plan of a made-up folder: its configs are complete, what cannot work is one line."""

import dataclasses
import random
import shlex
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from retrain.__main__ import main as retrain
from search.__main__ import main as search
from search.plan.command import main, plan_options
from search.plan.planning import percentile_of
from supernet.errors import UserError
from supernet.run.cli import CLI
from supernet.space.mnasnet import read_space
from tests.helpers.tables import NOWHERE, TINY, random_table


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty small images of noise in each of three classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog", "owl"):
        (root / label).mkdir()
        for number in range(20):
            pixels = rng.integers(256, size=(40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


@pytest.fixture
def plan(photos, tmp_path):
    """PlannedRuns for the images; the folder of the plan."""

    def run(*options):
        main([str(photos), "--cost", "macs", "--folder", str(tmp_path / "plan"), *options])
        return tmp_path / "plan"

    return run


def parsed(command, line, monkeypatch):
    """Settings that a command takes from a line, and its words."""

    class Parsed(Exception):
        pass

    def stop(cli):
        raise Parsed(cli.settings)

    monkeypatch.setattr(CLI, "before_instantiate_classes", stop)
    monkeypatch.setattr(sys, "argv", [command.__module__, *line])
    with pytest.raises(Parsed) as found:
        command()
    return found.value.args[0]


def test_its_configs_are_taken_by_the_commands_that_it_prints(plan, photos, monkeypatch, capsys):
    # More than the greatest lengths take, on however busy a machine.
    folder = plan("--budget", "50h", "--price_per_hour", "3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("60 images of 3 classes, 36x40 px: ")
    assert "60 images of 3 classes at 32 px: " in lines[-6]
    assert "(asked: 50.0 h)" in lines[-6]
    assert lines[-6].endswith("at 3 an hour")
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mnasnet ")]
    assert [words[0] for words in commands] == ["search", "retrain", "test", "export"]
    searched = parsed(search, ["fit", *commands[0][1:]], monkeypatch)
    trained = parsed(retrain, ["fit", *commands[1][1:]], monkeypatch)
    written = yaml.safe_load((folder / "search.yaml").read_text())
    assert searched.trainer.max_steps == written["trainer"]["max_steps"] == 60 * 60
    assert searched.model.space.width == read_space(folder / "space.yaml").width == 0.35
    assert (searched.model.cost, searched.model.target) == ("macs", "p40")
    assert trained.model.arch == f"{searched.run}/arch.json"
    assert trained.model.recipe.augmentation.preset == "light"
    for settings in (searched, trained):
        arguments = settings.data.init_args
        assert (arguments.root, arguments.resolution) == (str(photos), 32)
        assert arguments.batch_size == 8


def test_a_search_can_begin_with_what_it_writes(plan, monkeypatch):
    folder = plan("--profile", "quick", "--target", "3e6")
    written = yaml.safe_load((folder / "search.yaml").read_text())
    assert written["trainer"]["max_steps"] == 60 * 16
    line = ["search", "fit", "-c", str(folder / "search.yaml"), "--dry_run"]
    monkeypatch.setattr(sys, "argv", line)
    search()
    assert not (folder / "search").exists()


def test_a_plan_gives_way_to_the_next_but_neither_a_run_nor_a_file_of_yours(plan, tmp_path):
    before = torch.get_rng_state()
    folder = plan("--profile", "quick")
    assert torch.equal(before, torch.get_rng_state())
    (folder / "retrain.yaml").write_text("trainer: {}\n")
    with pytest.raises(UserError, match=r"retrain\.yaml is no file of a plan: move it away"):
        plan("--profile", "quick")
    (folder / "retrain.yaml").unlink()
    (folder / "search").mkdir()
    (folder / "search" / "config.yaml").touch()
    with pytest.raises(UserError, match="search is a run already: go on with it"):
        plan("--profile", "quick")


def test_a_table_says_the_space_and_how_its_networks_rank(plan, tmp_path, monkeypatch, capsys):
    space = dataclasses.replace(TINY, classes=3)
    fingerprint = {**NOWHERE, "space": dataclasses.asdict(space)}
    table = random_table(space, 0, fingerprint)
    table.write(tmp_path / "phone.json")
    options = ("--cost", "ms", "--table", str(tmp_path / "phone.json"), "--profile", "quick")
    target = table.predict(space.spec(space.sample(random.Random(0))))
    folder = plan(*options, "--target", str(target))
    searched = parsed(search, ["fit", "-c", str(folder / "search.yaml")], monkeypatch)
    assert searched.model.table == str(tmp_path / "phone.json")
    assert searched.data.init_args.resolution == 16
    assert read_space(folder / "space.yaml") == space
    with pytest.raises(UserError, match=r"target 0\.1 ms lies below the cheapest network"):
        plan(*options, "--target", "0.1")
    random_table(TINY, 0, {**NOWHERE, "space": dataclasses.asdict(TINY)}).write(
        tmp_path / "phone.json"
    )
    with pytest.raises(UserError, match=r"the latency table lacks 2 of the .* --classes 3"):
        plan(*options, "--target", "p40")


REFUSED = {
    "--budget 5s": "the shortest search and retraining of these images at 32 px take",
    "--target 10": "target 10 macs lies below the cheapest network of the space",
    "--target p140": "--target is 'p140': give a number of macs, a percentile",
    "--target fast": "--target is 'fast': give a number of macs, a percentile",
    "--budget soon": "--budget is 'soon': give a time such as 30m",
    "--budget 5m --profile quick": "not allowed with argument --budget",
    "--table t.json": "--table prices ms, not macs: drop one of the two",
    "--cost ms --table none.json": "none.json",
    "--resolution 4": "resolution is 4, it must be at least 8",
    "--price_per_hour 0": "'0' is not a number above 0",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_cannot_work_is_one_line(options, plan, tmp_path):
    with pytest.raises(UserError) as told:
        plan(*options.split())
    assert REFUSED[options] in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "plan").exists()


@pytest.fixture
def say(monkeypatch):
    """Answer the questions of a terminal with these lines."""

    def answers(*lines):
        rest = iter(lines)
        monkeypatch.setattr("search.plan.command.at_terminal", lambda: True)
        monkeypatch.setattr("builtins.input", lambda *_: next(rest))

    return answers


def test_without_a_folder_a_person_is_asked_until_the_answers_can_be(say, photos, tmp_path, capsys):
    phone = tmp_path / "phone.json"
    phone.touch()
    say("", "none", str(photos), "tablet.json", str(phone), "fast", "0.8x mnasnet_a1", "soon", "2h")
    words = []
    options = plan_options(words)
    assert words == [
        str(photos),
        "--table",
        str(phone),
        "--target",
        "0.8x mnasnet_a1",
        "--budget",
        "2h",
    ]
    assert (options.root, options.table, options.seconds) == (photos, str(phone), 7200)
    out = " ".join(capsys.readouterr().out.split())
    for line in (
        " is not a folder: name one with",
        "none is not a folder: name one with",
        "tablet.json is no file: name a latency table, or say this",
        "--target is 'fast': give a number of ms",
        "--budget is 'soon': give a time such as 30m",
    ):
        assert line in out


def test_what_the_command_line_has_said_is_not_asked(say, photos):
    say(str(photos), "")
    options = plan_options(["--target", "p20", "--cost", "macs"])
    assert (options.target, options.profile, options.seconds) == ("p20", "balanced", None)
    say(str(photos), "this", "", "thorough")
    options = plan_options([])
    assert (options.table, options.target, options.profile) == (None, "p40", "thorough")


def test_without_a_terminal_or_answers_the_missing_word_is_named(say, monkeypatch):
    with pytest.raises(UserError, match=r"required: DIR \(see python -m search\.plan --help\)"):
        plan_options([])

    def end(*_):
        raise EOFError

    say()
    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(UserError, match="the answers have ended: name DIR and options"):
        plan_options([])


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a folder: name one with a folder for each class"):
        main([str(tmp_path / "none")])


def test_targets_that_need_no_table_are_known():
    assert [percentile_of(one) for one in ("p40", "p2.5", "12", "0.8x mnasnet_a1")] == [
        0.4,
        0.025,
        None,
        None,
    ]
