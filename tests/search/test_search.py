"""A whole search: what it leaves behind, what it tells W&B, what it reads, on one rank or two."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from retrain.__main__ import main as retrain
from supernet.arch_file import read_arch
from supernet.arch_records import package_versions
from supernet.command.process import run_command
from supernet.cost.counts import count
from supernet.data.digits import Digits
from supernet.latency.table.table import LatencyTable
from supernet.network.checkpoint import file_sha256
from tests.helpers import preloaded
from tests.helpers.html_page import Page
from tests.helpers.tables import random_table
from tests.helpers.tiny import SEARCHED
from tests.helpers.wandb_run import FakeRun, read_offline

PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {"entropy", "loss", "network", "pareto", "progress"}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- what a search leaves behind ------------------------------------------------------------------


def test_the_command_fills_its_run_folder_and_an_offline_wandb_run(tiny_search, tmp_path):
    run = tmp_path / "run"
    idle = ["--model.weights.lr", "1e-9", "--wandb.mode", "offline"]
    done = preloaded.run("search", "fit", *tiny_search, *idle, warns=True)
    assert done.returncode == 0
    assert done.stderr == ""
    data, memory, before, *printed, alarm, report, following = done.stdout.splitlines()
    check_first_lines(data, memory, before)
    assert printed[0].startswith("search 24/24  loss ")
    assert printed[1] == "judge 2/2  on validation images"
    assert printed[-2:] == [f"architecture: {run / 'arch.json'}", f"figures: {run / 'figures'}"]
    assert alarm.startswith("alarm: not learned: the accuracy is ")
    assert report == f"report: {run / 'report.html'}"
    command = following.removeprefix("next: ")
    assert command.startswith("mnasnet retrain -c ")
    assert f" --model.arch {run / 'arch.json'}" in command
    assert (run / "next_step.txt").read_text() == f"{command}\n"
    (kept,) = json.loads((run / "alarms.json").read_text())["end"]
    assert alarm == f"alarm: {kept['seen']}: {kept['advice']}"
    page = Page((run / "report.html").read_text())
    assert kept["seen"] in page.words["alarms"]
    assert command in page.words["choice"]
    assert {"choice", "front", "controller", "cost-of-the-search"} <= page.words.keys()

    found = read_arch(run / "arch.json")
    assert (found.space, found.measured) == (SEARCHED, None)
    assert found.predicted <= found.target
    assert (found.unit, found.step, found.seed) == ("macs", 24, 0)
    front = json.loads((run / "pareto.json").read_text())
    (chosen,) = [point for point in front["points"] if point["chosen"] == ["p40"]]
    assert front["targets"] == {"p40": found.target}
    assert (chosen["cost"], chosen["accuracy"]) == (found.predicted, found.accuracy)
    assert tuple(chosen["arch"]) == found.space.encode(found.arch)
    assert {path.stem for path in (run / "figures").iterdir()} == FIGURES
    assert all(path.read_bytes().startswith(PNG) for path in (run / "figures").iterdir())
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "uniform.ckpt"}
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["target"] == "p40"
    logged = [row["step"] for row in rows(run / "metrics.csv") if row["train/loss"]]
    assert logged == ["0", "4", "8", "12", "16", "20"]

    check_offline_run(run, found, len(front["points"]))


def check_first_lines(data, memory, before):
    """What is said of a search before its first step."""
    assert data.startswith("data: 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9); 1,080 weights, ")
    assert memory.startswith("memory: 4 MiB of features for 16 images a step, 1 MiB of weights; ")
    assert before == "1,438 images of 10 classes at 8 px: 24 steps"


def check_offline_run(run, found, num_points):
    """What W&B would upload is what the folder holds."""
    (offline,) = (run / "wandb").glob("offline-run-*")
    identity = (run / "wandb_id").read_text()
    assert offline.name.endswith(identity)
    media = offline / "files" / "media"
    assert {path.name.split("_")[0] for path in (media / "images").rglob("*.png")} == FIGURES
    (table,) = (media / "table").glob("pareto_*.table.json")
    assert len(json.loads(table.read_text())["data"]) == num_points
    kept = read_offline(offline)
    assert kept.config["model"]["target"] == "p40"
    assert kept.config["identity"]["target"] == found.target
    assert kept.config["identity"]["space"]["width"] == 0.1
    assert len(kept.config["data_digest"]) == 32
    assert kept.config["versions"] == package_versions()
    assert kept.settings.run.job_type == "search"
    assert kept.summary["choice/predicted"] == found.predicted
    assert kept.summary["choice/params"] == count(found.spec).params
    assert {"reward/mean", "train/loss"} <= {name for row in kept.history for name in row}
    (name,) = (name for name in kept.artifacts if name.startswith("architecture-"))
    assert name == f"architecture-{file_sha256(run / 'arch.json')[:12]}"
    assert kept.artifacts[name] == ["arch.json"]


def test_wandb_is_told_what_the_folder_holds(search, tiny_search, tmp_path, monkeypatch):
    fake, run = FakeRun(), tmp_path / "run"
    monkeypatch.setattr("wandb.init", lambda **_: fake)
    search(*tiny_search, "--model.weights.lr", "1e-9", "--wandb.mode", "offline")

    told = [values for values in fake.logged if "trainer/global_step" in values]
    written = rows(run / "metrics.csv")
    assert len(told) == len(written) > 6
    for values, row in zip(told, written, strict=True):
        step = values.pop("trainer/global_step")
        assert row["step"] == str(step)
        assert {name: float(row[name]) for name in row if row[name] and name != "step"} == values
    figures, table = fake.logged[-2:]
    assert set(figures) == {f"figures/{name}" for name in FIGURES}
    points = json.loads((run / "pareto.json").read_text())["points"]
    assert [row[:3] for row in table["pareto"].data] == [
        [point["cost"], point["accuracy"], " ".join(point["chosen"])] for point in points
    ]
    assert fake.alerts == ["not learned"]
    artifact, report = fake.artifacts
    assert report.name.startswith("report-")
    assert artifact.name.startswith("architecture-")
    (entry,) = artifact.manifest.entries.values()
    assert entry.path == "arch.json"
    assert Path(entry.local_path).read_bytes() == (run / "arch.json").read_bytes()


@pytest.mark.slow
def test_without_loggers_the_folder_is_still_whole(search, tiny_search, tmp_path):
    search(*tiny_search, "--trainer.logger", "false", "--wandb.mode", "offline")
    assert not (tmp_path / "run" / "wandb").exists()
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} == FIGURES


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("controller.kind=tunas", "the checkpoint's controller is ppo, this search's is tunas:"),
        ("compress_gradients=true", "model.compress_gradients is True, but the run to continue"),
    ],
)
def test_other_settings_do_not_continue_a_search(search, finished_search, capsys, option, message):
    with pytest.raises(SystemExit) as leaving:
        search(*finished_search, f"--model.{option}", "--ckpt_path", "last")
    assert leaving.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_search_keeps_to_the_restrictions_of_its_space_and_off_the_test_split(
    search, tiny_search, tmp_path, monkeypatch
):
    parts_read, original = set(), Digits._images

    def spy(self, *parts, augment):
        parts_read.update(parts)
        return original(self, *parts, augment=augment)

    monkeypatch.setattr(Digits, "_images", spy)
    limits = "[{block: 1, ops: [sepconv], ses: [0.0]}, {block: 3, skips: [pool], layers: [0]}]"
    search(*tiny_search, f"--model.space.restrictions={limits}")
    found = read_arch(tmp_path / "run" / "arch.json")
    first, _, third = found.arch.blocks
    assert (first.op, first.se, third.skip, third.layers) == ("sepconv", 0.0, "pool", 0)
    assert (tmp_path / "run" / "figures" / "entropy.png").exists()
    assert parts_read == {"weights", "reward", "val"}


@pytest.mark.slow
def test_the_last_stage_can_be_repeated(search, tiny_search, tmp_path):
    search(*tiny_search)
    run = tmp_path / "run"
    names = ("arch.json", "pareto.json", "metrics.csv")
    before = [(run / name).read_bytes() for name in names]
    (run / "arch.json").unlink()
    search(*tiny_search, "--ckpt_path", "last")
    assert [(run / name).read_bytes() for name in names] == before


# --- data of one's own ----------------------------------------------------------------------------


OWN_MODULE = """
from pathlib import Path
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class MyImages(pl.LightningDataModule):
    def __init__(self, folder: str, batch_size: int = 8):
        super().__init__()
        self.folder, self.batch_size = Path(folder), batch_size
        self.num_classes, self.resolution = 3, 12

    def _loader(self, part, num_images, shuffle=False):
        with (self.folder / "read.txt").open("a") as file:
            file.write(part + "\\n")
        generator = torch.Generator().manual_seed(num_images)
        images = torch.randn(num_images, 3, 12, 12, generator=generator)
        labels = torch.arange(num_images) % 3
        return DataLoader(TensorDataset(images, labels), self.batch_size, shuffle)

    def train_dataloader(self):
        return self._loader("train", 96, shuffle=True)

    def val_dataloader(self):
        return self._loader("val", 24)

    def test_dataloader(self):
        return self._loader("test", 27)
"""


def test_a_datamodule_of_ones_own_is_searched_retrained_and_tested(
    search, tiny_search, tmp_path, monkeypatch
):
    (tmp_path / "my_images.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    config["data"] = {"class_path": "my_images.MyImages", "init_args": {"folder": str(tmp_path)}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    search(*tiny_search, "--trust", "my_images")
    arch = tmp_path / "run" / "arch.json"
    found = read_arch(arch)
    assert (found.classes, found.resolution, found.space.stem_stride) == (3, 12, 1)
    assert set((tmp_path / "read.txt").read_text().split()) == {"train", "val"}

    options = [
        "--data=my_images.MyImages",
        f"--data.folder={tmp_path}",
        f"--run={tmp_path / 'trained'}",
        f"--model.arch={arch}",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
    ]
    monkeypatch.setattr(sys, "argv", ["retrain"])
    run_command(lambda: retrain(["fit", *options]))
    assert "test" not in (tmp_path / "read.txt").read_text()
    run_command(lambda: retrain(["test", *options]))
    assert json.loads((tmp_path / "trained" / "test.json").read_text())["images"] == 27


# --- continuing -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_latency_table_does_not_continue_a_search(search, tiny_search, tmp_path, capsys):
    tables = [tmp_path / name for name in ("a.json", "b.json")]
    for number, path in enumerate(tables):
        random_table(SEARCHED, number).write(path)
    run = tmp_path / "timed"
    timed = [*tiny_search, "--run", run, "--model.cost", "ms", "--model.table"]
    search(*timed, tables[0])
    assert read_arch(run / "arch.json").table == LatencyTable.read(tables[0]).hash
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        search(*timed, tables[1], "--ckpt_path", "last")
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: the checkpoint's cost is ms ")
    assert all(LatencyTable.read(path).hash in line for path in tables)


# --- several processes ----------------------------------------------------------------------------

PROBE = '''
import hashlib, json
from pathlib import Path
import pytorch_lightning as pl
from torch import distributed

exchanges = []


def counted(name, exchange):
    def count(*args, **kwargs):
        for found in exchanges[-1:]:
            found.append(name)
        return exchange(*args, **kwargs)
    return count


for name in ("all_reduce", "broadcast", "all_gather", "barrier", "broadcast_object_list",
             "all_gather_object"):
    setattr(distributed, name, counted(name, getattr(distributed, name)))


class RankProbe(pl.Callback):
    """Writes what each rank sampled and exchanged, and what it holds at the end."""

    def __init__(self, folder: str):
        self.folder, self.paths = Path(folder), []

    def on_train_batch_start(self, trainer, module, *_):
        exchanges.append([])
        self.paths.append(repr(module.plan().path))

    def on_train_end(self, trainer, module):
        state = {}
        for part in ("supernet", "controller"):
            digest = hashlib.sha256()
            for name, tensor in sorted(getattr(module, part).state_dict().items()):
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
            state[part] = digest.hexdigest()
        written = {"state": state, "paths": self.paths, "exchanges": list(exchanges)}
        exchanges.clear()
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(written))
'''


def test_two_processes_sample_their_own_paths_and_end_bit_identical(tiny_search, tmp_path):
    (tmp_path / "rank_probe.py").write_text(PROBE)
    callback = {"class_path": "rank_probe.RankProbe", "init_args": {"folder": str(tmp_path)}}
    trainer = {"devices": 2, "callbacks": [callback]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    line = ["fit", *tiny_search, "-c", tmp_path / "two.yaml", "--trust", "rank_probe"]
    done = preloaded.run("search", *line, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["state"] == ranks[1]["state"]
    pairs = list(zip(ranks[0]["paths"], ranks[1]["paths"], strict=True))
    assert len(pairs) == 24
    # Gradients, and whether to save or to stop. Numbers are looked at in the first and last step
    # of a logging interval.
    quiet = [ranks[0]["exchanges"][step] for step in range(20) if step % 4 in (1, 2)]
    assert quiet == [["all_reduce", "all_reduce"]] * 10
    # The first paths are those of the warm-up, in which nearly every decision is mixed.
    assert sum(mine != yours for mine, yours in pairs[4:]) >= 18
    assert len({path for rank in ranks for path in rank["paths"]}) > 30
    assert done.stdout.count("chosen:") == 1
    found = read_arch(tmp_path / "run" / "arch.json")
    assert found.predicted <= found.target
