"""The command line: help, overlays, run folders that keep their config, and how a run ends."""

import errno
import json
import re
import signal
import sys
import time

import pytest
import rich
import torch
import yaml
from pytorch_lightning.callbacks import Timer

from search.__main__ import main
from supernet.command import output as progress_lines
from supernet.command.output import ProgressLines
from supernet.command.process import is_first_process, run_command
from supernet.errors import UserError
from supernet.run.cli import CLI, RunParser
from supernet.run.folder import WAY_ON
from supernet.space.mnasnet import read_space
from tests.helpers import preloaded


@pytest.fixture
def search(monkeypatch):
    """Run ``python -m search ARGS`` in this process."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["search", *map(str, args)])
        main()

    return run


@pytest.fixture
def refused(search, capsys):
    """Run a command that must be refused, and return its one line."""

    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            search(*args)
        assert leaving.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


@pytest.fixture
def parsed(search, monkeypatch):
    """What the command line comes to, without running anything."""

    class Parsed(Exception):
        pass

    def stop(cli):
        raise Parsed(cli.settings)

    def run(*args):
        monkeypatch.setattr(CLI, "before_instantiate_classes", stop)
        with pytest.raises(Parsed) as found:
            search(*args)
        return found.value.args[0]

    return run


def saved(run):
    return yaml.safe_load((run / "config.yaml").read_text())


# --- help and configs -----------------------------------------------------------------------------


def test_help_names_the_verbs(search, capsys):
    with pytest.raises(SystemExit) as leaving:
        search("--help")
    output = capsys.readouterr()
    assert leaving.value.code == 0
    assert output.out.startswith("usage: python -m search ")
    assert {"fit", "choose"} <= set(output.out.split())
    assert output.err == ""


@pytest.mark.slow
def test_help_is_printed_by_the_command_itself(command):
    done = command("search", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m search ")


def test_the_configuration_can_be_printed_and_read_again(search, tiny_search, tmp_path, capsys):
    with pytest.raises(SystemExit) as leaving:
        search("fit", *tiny_search, "--model.target", "p70", "--print_config")
    assert leaving.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["target"] == "p70"
    assert printed["model"]["sampling"]["samples"] == 4
    assert not (tmp_path / "run").exists()


def test_later_configs_and_options_win(parsed, tiny_search, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model: {target: p70, sampling: {samples: 6}}\ntrainer: {max_steps: 8}\n")
    found = parsed("fit", *tiny_search, "-c", overlay, "--trainer.max_steps", "9")
    assert (found.model.target, found.model.sampling.samples) == ("p70", 6)
    assert found.model.sampling.every == 2
    assert found.trainer.max_steps == 9


def test_a_config_may_name_a_shipped_space(parsed, tiny_search, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model:\n  space: spaces/cifar  # by its name\n")
    found = parsed("fit", *tiny_search, "-c", overlay).model.space
    cifar = read_space("spaces/cifar")
    assert (found.width, tuple(found.strides)) == (cifar.width, cifar.strides)
    said = r"^spaces/cifr is no file, .* closest are spaces/cifar, "
    with pytest.raises(UserError, match=said):
        RunParser().parse_string("model: {space: spaces/cifr}")


# --- run folders ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_run_keeps_its_config_and_a_changed_option_survives_a_resume(
    search, refused, parsed, tiny_search, tmp_path
):
    first, second = tmp_path / "first", tmp_path / "second"
    search("fit", *tiny_search, "--run", first, "--seed_everything", "1")
    search("fit", *tiny_search, "--run", second, "--seed_everything", "2")
    assert [saved(run)["seed_everything"] for run in (first, second)] == [1, 2]
    kept = (first / "config.yaml").read_bytes()

    again = ["fit", *tiny_search, "--run", first, "--seed_everything"]
    assert "already holds a run: continue it with --ckpt_path last" in refused(*again, "1")
    line = refused(*again, "3", "--ckpt_path", "last")
    assert "seed is 1, this search's is 3" in line
    assert (first / "config.yaml").read_bytes() == kept

    longer = [*again, "1", "--ckpt_path", "last", "--trainer.max_steps", "30"]
    search(*longer, "--model.controller.ppo.epochs", "3")
    assert saved(first)["trainer"]["max_steps"] == 30
    assert saved(first)["model"]["controller"]["ppo"]["epochs"] == 3
    assert "ckpt_path" not in saved(first)
    last = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["search"]["steps_done"] == 30
    assert last["data"]["classes"] == tuple("0123456789")

    found = parsed("fit", "-c", first / "config.yaml", "--run", tmp_path / "next")
    assert (found.model.target, found.model.controller.ppo.epochs) == ("p40", 3)
    assert (found.trainer.max_steps, found.data.init_args.resolution) == (30, 8)


@pytest.mark.parametrize(
    ("variable", "value", "first"),
    [("RANK", "0", True), ("LOCAL_RANK", "1", False), ("NODE_RANK", "1", False), ("X", "1", True)],
)
def test_one_process_of_all_machines_is_the_first(monkeypatch, variable, value, first):
    monkeypatch.setenv(variable, value)
    assert is_first_process() is first


# --- how a run ends -------------------------------------------------------------------------------


def lightnings_interrupt():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def raises(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize("function", [raises(KeyboardInterrupt()), lightnings_interrupt])
def test_an_interrupt_says_how_to_go_on(capsys, function):
    with pytest.raises(SystemExit) as leaving:
        run_command(function, WAY_ON)
    assert leaving.value.code == 130
    assert capsys.readouterr().err == (
        "stopped: go on with the same command and --ckpt_path last\n"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("width is 0"), "error: width is 0"),
        (OSError(errno.ENOSPC, "disk full", "x.csv"), "error: cannot write x.csv: disk full"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, error, line):
    with pytest.raises(SystemExit) as leaving:
        run_command(raises(error))
    assert leaving.value.code == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith(line)


@pytest.mark.parametrize("error", [ValueError("a fault of ours"), OSError(errno.EIO, "broken")])
def test_a_fault_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_command(raises(error))


def test_ctrl_c_ends_with_status_130_and_a_whole_checkpoint(tiny_search, tmp_path, search):
    run = tmp_path / "run"
    line = [*tiny_search, "--checkpoint_every_s", "0", "--trainer.max_steps", "100000"]
    process = preloaded.Command("search", "fit", *line, warns=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "stopped: go on with the same command and --ckpt_path last\n"
    told = r"data: .*\nmemory: .*\n.* px: 100,000 steps, about .* here \(estimate\)\n"
    assert re.fullmatch(told + r"search \d+/100000( .*)?\n", output)
    done = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["search"]["steps_done"]
    total = str(done + 20)
    search("fit", *tiny_search, "--ckpt_path", "last", "--trainer.max_steps", total)
    assert (run / "arch.json").exists()


# --- progress -------------------------------------------------------------------------------------


def advance(shown=True):
    with ProgressLines(shown) as bar:
        task = bar.add_task("search", total=3, status="")
        for step in range(1, 4):
            bar.update(task, completed=step, status=f"loss {step}")


def test_a_log_file_gets_lines_now_and_then_and_a_last_one(capsys, monkeypatch):
    advance()
    assert capsys.readouterr().out == "search 3/3  loss 3\n"
    monkeypatch.setattr(progress_lines, "LINE_EVERY_S", 0.0)
    advance()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3", "3/3"]
    advance(shown=False)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=100))
    advance()
    out = capsys.readouterr().out
    assert "━" in out
    assert "3/3" in out
    assert not any(line.startswith("search 3/3") for line in out.splitlines())


# --- max_time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "chosen"), [(3, False), (22, True)])
def test_a_search_whose_time_is_over_chooses_if_its_controller_has_learned(
    search, tiny_search, tmp_path, capsys, monkeypatch, steps, chosen
):
    """Of 24 steps the controller has the last few."""
    done = []
    monkeypatch.setattr(Timer, "on_train_batch_end", lambda timer, trainer, *_: end(trainer))

    def end(trainer):
        done.append(trainer.global_step)
        trainer.should_stop = len(done) >= steps

    arguments = ["fit", *tiny_search, "--trainer.max_time", "00:09:00:00"]
    run = tmp_path / "run"
    if chosen:
        search(*arguments)
        assert f"max_time is over after {steps} of 24 steps" in capsys.readouterr().out
        assert json.loads((run / "arch.json").read_text())["step"] == steps
    else:
        with pytest.raises(SystemExit) as leaving:
            search(*arguments)
        assert leaving.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: the search ended after {steps} of 24 steps, before its")
        assert not (run / "arch.json").exists()
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["search"]["steps_done"] == steps


def test_a_name_that_is_no_utf_8_is_refused_before_anything_is_read(refused):
    for option in ("--run", "--data.root"):
        line = refused("fit", "-c", "photos/search", "--run", "x", option, "caf\udce9")
        assert line.startswith(r"error: caf\udce9 is no UTF-8: rename the file or folder")
