"""docs/metrics.md explains every metric that is logged, and no other."""

import csv
import re
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from retrain.__main__ import main as retrain
from retrain.detect.__main__ import main as detect
from search.__main__ import main as search
from search.controllers.controller import UpdateStep
from search.controllers.settings import ControllerSettings, Kind
from supernet.command.process import run_command
from supernet.space.arch import DECISIONS
from supernet.space.mnasnet import MnasSpace
from tests.helpers.tiny import TUNED_OPTIONS
from tests.helpers.toys import Toy, generator, train

ROOT = Path(__file__).parents[2]
PLACEHOLDERS = {
    "OP": "(conv|sepconv|mbconv3|mbconv6)",
    "KIND": f"({'|'.join(DECISIONS)})",
    "N": r"\d+",
}


def documented(section):
    """Patterns of the names in a section's first table, by the names as written."""
    text = (ROOT / "docs" / "metrics.md").read_text().split(f"\n## {section}\n")[1]
    text = re.split(r"\n##", text)[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`(.+?)`", cell)]
    assert len(set(names)) == len(names) > 3
    return {name: re.compile(with_placeholders(name)) for name in names}


def with_placeholders(name):
    return re.sub("OP|KIND|N", lambda found: PLACEHOLDERS[found[0]], name)


def columns(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return set(next(csv.reader(file))) - {"step"}


def assert_documented(section, logged):
    patterns = documented(section)
    matches = {name: [p for p in patterns if patterns[p].fullmatch(name)] for name in logged}
    assert {name: len(found) for name, found in matches.items()} == dict.fromkeys(logged, 1)
    assert {pattern for (pattern,) in matches.values()} == set(patterns)


def logs_of(kind):
    """What a controller logs of an update."""
    sizes = MnasSpace().decision_sizes
    toy = Toy.draw(sizes, 0, 0.0)
    controller = ControllerSettings(kind).build(sizes, samples=4, keep=4)
    list(train(controller, toy, 0, 1, samples=4))
    proposals = controller.propose(4, generator(0))
    return controller.learn(
        proposals, toy.scores(proposals.indices), generator(0), UpdateStep(0, 1)
    )


@pytest.fixture
def in_process(monkeypatch):
    def run(main, *words):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        run_command(main)

    return run


def test_every_metric_of_a_search_is_explained_once(
    in_process, tiny_search, tmp_path, capsys, monkeypatch
):
    constraint = '[{"cost": "params", "limit": "p50"}]'
    in_process(search, "fit", *tiny_search, "--model.constraints", constraint)
    logged = columns(tmp_path / "run")
    assert "alarm:" not in capsys.readouterr().out.replace("alarm: not learned", "")
    # So that there are proposals, whatever a dozen labels tell.
    monkeypatch.setattr("search.surrogate.regression.Ridge.tells", True)
    tuned = [*tiny_search[:-1], tmp_path / "tuned", *TUNED_OPTIONS]
    in_process(search, "fit", *tuned)
    logged |= columns(tmp_path / "tuned")
    for kind in get_args(Kind):
        logged |= logs_of(kind).keys()
    assert_documented("Search", logged)


@pytest.mark.parametrize(
    ("section", "main", "config", "data"),
    [
        ("Retraining", retrain, "retrain", ["--data.resolution=8", "--model.threshold=0.01"]),
        (
            "Detection",
            detect,
            "detect",
            ["--data.train_images=32", "--data.val_images=4", "--data.test_images=4"],
        ),
    ],
)
def test_every_metric_of_a_training_is_explained_once(
    in_process, tmp_path, section, main, config, data
):
    torch.manual_seed(0)
    options = [
        f"--config={ROOT / 'configs' / 'digits' / config}.yaml",
        f"--run={tmp_path / 'run'}",
        "--model.arch=mnasnet_small",
        *data,
        "--trainer.max_steps=2",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.log_every_n_steps=1",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
    ]
    for verb in ("fit", "test"):
        in_process(lambda verb=verb: main([verb, *options]))
    assert_documented(section, columns(tmp_path / "run"))
