"""Sweeps of W&B: the lines of configs/sweeps as its agent runs them, each in its own folder."""

from pathlib import Path

import pytest
import yaml

from retrain.__main__ import main as retrain
from search.__main__ import main as search
from supernet.command.process import run_command
from supernet.run.cli import CLI
from supernet.tracking.logger import Wandb, folder_of_run, wandb_logger
from tests.helpers.tiny import write_tiny_arch

CONFIGS = Path(__file__).parents[3] / "configs"
SWEEPS = CONFIGS / "sweeps"
RUN_ID = "x1y2z3"


@pytest.fixture
def _agent(monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s0")
    monkeypatch.setenv("WANDB_RUN_ID", RUN_ID)


def agent_line(path):
    """Words after ``python -m NAME`` as the agent of W&B would run them, with one value of each."""
    # Takes seconds to import, in each process that collects the tests.
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load(path.read_text())
    first = {
        name: {"value": one["values"][0] if "values" in one else one["min"]}
        for name, one in sweep["parameters"].items()
    }
    filled = create_sweep_command_args({"args": first})["args"]
    words = create_sweep_command(sweep["command"])
    assert words[:3] == ["${env}", "${interpreter}", "-m"]
    assert words[-1] == "${args}"
    return [*words[3:-1], *filled]


@pytest.mark.parametrize("name", ["search", "retrain"])
@pytest.mark.usefixtures("_agent")
def test_a_sweep_is_taken_and_each_of_its_runs_has_a_folder(name, monkeypatch, tmp_path):
    class Settled(Exception):
        pass

    def stop(cli):
        raise Settled(cli.settings)

    line = agent_line(SWEEPS / f"{name}.yaml")
    arch = f"--model.arch={write_tiny_arch(tmp_path / 'arch.json')}"
    line = [arch if word.startswith("--model.arch=") else word for word in line]
    line = [word.replace("configs/", f"{CONFIGS}/") for word in line]
    monkeypatch.setattr("sys.argv", line)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CLI, "instantiate_classes", stop)
    command = search if name == "search" else lambda: run_command(retrain)
    with pytest.raises(Settled) as settled:
        command()
    folder = tmp_path / "runs" / f"sweep-{name}" / RUN_ID
    assert Path(settled.value.args[0].run).resolve() == folder
    assert (folder / "config.yaml").exists()


@pytest.mark.usefixtures("_agent")
def test_a_run_of_a_sweep_has_the_agents_id(tmp_path):
    logger = wandb_logger(tmp_path, Wandb(), "search")
    assert logger._wandb_init["id"] == (tmp_path / "wandb_id").read_text() == RUN_ID


def test_elsewhere_a_folder_is_what_was_given_and_the_id_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", RUN_ID)  # of a shell, which runs no sweep
    assert folder_of_run("runs/x") == "runs/x"
    wandb_logger(tmp_path, Wandb(), "search")
    assert (tmp_path / "wandb_id").read_text() != RUN_ID


def test_settings_name_the_run(tmp_path):
    settings = Wandb(entity="us", name="first", group="phones", job_type="trial", tags=["a", "b"])
    folder = tmp_path / "run"
    folder.mkdir()
    given = wandb_logger(folder, settings, "search")._wandb_init
    assert (given["entity"], given["name"], given["group"]) == ("us", "first", "phones")
    assert (given["job_type"], given["tags"]) == ("trial", ["a", "b"])
    given = wandb_logger(folder, Wandb(), "retrain")._wandb_init
    assert (given["entity"], given["name"], given["job_type"]) == (None, "run", "retrain")
