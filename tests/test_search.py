"""A whole search: what it leaves behind, what it tells W&B, what it reads, on one rank or two."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from retrain.__main__ import main as retrain
from search.__main__ import main
from supernet.archfile import read_arch
from supernet.data import Digits
from supernet.device import describe
from supernet.ending import run_command
from supernet.errors import UserError
from supernet.measured import Measured
from supernet.table import LatencyTable
from tests.tables import random_table

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {"entropy", "network", "pareto", "progress"}


@pytest.fixture
def search(monkeypatch):
    """Run ``python -m search fit ARGS`` in this process."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["search", "fit", *map(str, args)])
        main()

    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- what a search leaves behind ------------------------------------------------------------------


def test_the_command_fills_its_run_folder_and_an_offline_wandb_run(tiny_search, tmp_path):
    run = tmp_path / "run"
    line = [sys.executable, "-m", "search", "fit", *tiny_search, "--wandb.mode", "offline"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    printed = done.stdout.splitlines()
    assert printed[0].startswith("search 24/24  loss ")
    assert printed[1] == "judge 4/4  recalibrated, on validation images"
    assert printed[-2:] == [f"architecture: {run / 'arch.json'}", f"figures: {run / 'figures'}"]

    found = read_arch(run / "arch.json")
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

    (offline,) = (run / "wandb").glob("offline-run-*")
    identity = (run / "wandb_id").read_text()
    assert offline.name.endswith(identity)
    media = offline / "files" / "media"
    assert {path.name.split("_")[0] for path in (media / "images").rglob("*.png")} == FIGURES
    (table,) = (media / "table").glob("pareto_*.table.json")
    assert len(json.loads(table.read_text())["data"]) == len(front["points"])
    stored = (offline / f"run-{identity}.wandb").read_bytes()
    for name in ("reward/mean", "train/loss", f"arch-{identity}", "arch.json"):
        assert name.encode() in stored


class FakeRun:
    """Takes what a W&B run takes."""

    id = "abc"

    def __init__(self):
        self.logged, self.artifacts = [], []

    def log(self, values, **_):
        self.logged.append(values)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)


def test_wandb_is_told_what_the_folder_holds(search, tiny_search, tmp_path, monkeypatch):
    fake, run = FakeRun(), tmp_path / "run"
    monkeypatch.setattr("wandb.init", lambda **_: fake)
    search(*tiny_search, "--wandb.mode", "offline")

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
    (artifact,) = fake.artifacts
    assert artifact.name == "arch-abc"
    (entry,) = artifact.manifest.entries.values()
    assert entry.path == "arch.json"
    assert Path(entry.local_path).read_bytes() == (run / "arch.json").read_bytes()


@pytest.mark.slow
def test_without_loggers_the_folder_is_still_whole(search, tiny_search, tmp_path):
    search(*tiny_search, "--trainer.logger", "false", "--wandb.mode", "offline")
    assert not (tmp_path / "run" / "wandb").exists()
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} == FIGURES


@pytest.mark.parametrize(
    "kind",
    ["evolution", "cost_gradient"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in ("reinforce", "tunas", "random")],
)
def test_a_search_ends_right_below_the_target_under_every_controller(
    search, tiny_search, tmp_path, capsys, kind
):
    search(*tiny_search, "--model.controller.kind", kind)
    found = read_arch(tmp_path / "run" / "arch.json")
    assert 0.99 * found.target <= found.predicted <= found.target
    assert "constrains nothing" not in capsys.readouterr().out
    learned = [row["entropy/op"] for row in rows(tmp_path / "run" / "metrics.csv")]
    assert sum(map(bool, learned)) == 2


@pytest.mark.parametrize("kind", ["soft", pytest.param("hard", marks=pytest.mark.slow)])
def test_a_search_ends_right_below_the_target_under_every_reward(
    search, tiny_search, tmp_path, kind
):
    search(*tiny_search, "--model.reward.kind", kind, "--model.target", "p80")
    found = read_arch(tmp_path / "run" / "arch.json")
    assert 0.99 * found.target <= found.predicted <= found.target


def test_where_no_network_is_near_the_target_the_search_says_so_and_takes_the_nearest(
    search, tiny_search, tmp_path, capsys
):
    few = {"ops": ["conv"], "kernels": [3], "ses": [0.0], "skips": ["none"], "filters": [1.0]}
    few |= {"base_layers": [1, 1], "base_filters": [80, 160], "strides": [1, 2], "layers": [0, 1]}
    options = [f"--model.space.{name}={json.dumps(value)}" for name, value in few.items()]
    search(*tiny_search, *options, "--model.target", "p99")
    found = read_arch(tmp_path / "run" / "arch.json")
    near = 0.5 * (found.predicted + found.target)
    capsys.readouterr()
    search(*tiny_search, *options, f"--model.target={found.target - 1}", "--run", tmp_path / "low")
    low = read_arch(tmp_path / "low" / "arch.json")
    assert near > low.target > low.predicted
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: no network of the space lies within 1% below target")
    assert note.endswith(f"the choice will be the nearest from below with {low.predicted:.4g} macs")


def test_a_search_for_three_targets_leaves_a_network_for_each(
    search, tiny_search, tmp_path, capsys
):
    run, names = tmp_path / "run", ["p20", "p80", "0.15x_mnasnet_a1"]
    search(*tiny_search, "--model.target", "[p20, p80, 0.15x mnasnet_a1]")
    assert sorted(path.name for path in run.glob("*arch*")) == sorted(
        f"arch-{name}.json" for name in names
    )
    archs = {name: read_arch(run / f"arch-{name}.json") for name in names}
    assert all(0.99 * one.target <= one.predicted <= one.target for one in archs.values())
    front = json.loads((run / "pareto.json").read_text())
    assert front["targets"] == {name: one.target for name, one in archs.items()}
    chosen = {name: point for point in front["points"] for name in point["chosen"]}
    assert {name: point["cost"] for name, point in chosen.items()} == {
        name: one.predicted for name, one in archs.items()
    }
    networks = {f"network-{name}" for name in names}
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert figures == (FIGURES - {"network"}) | networks
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("chosen: ") for line in printed) == 3
    with pytest.raises(UserError, match=r"name one of arch-0\.15x_mnasnet_a1\.json, arch-p20"):
        read_arch(run / "arch.json")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["target"] == ["p20", "p80", "0.15x mnasnet_a1"]
    with pytest.raises(SystemExit):
        search(*tiny_search, "--model.target", "[p20, p80]", "--ckpt_path", "last")
    assert "error: the checkpoint's target is [" in capsys.readouterr().err


def test_arch_json_says_what_was_measured_on_the_machine_of_the_table(
    search, tiny_search, tmp_path, capsys, monkeypatch
):
    search(*tiny_search)
    run, space = tmp_path / "run", read_arch(tmp_path / "run" / "arch.json").space
    for name, machine in (("here", describe()), ("elsewhere", None)):
        random_table(space, 0, machine).save(tmp_path / f"{name}.json")
    monkeypatch.setattr("search.device_times.measure_specs", lambda specs: [2.0] * len(specs))
    timed = ["--model.cost", "ms", "--model.final.measured", "2", "--model.table"]
    for name in ("here", "elsewhere"):
        line = [*tiny_search, "--run", tmp_path / name, *timed, tmp_path / f"{name}.json"]
        capsys.readouterr()
        search(*line)
        (text,) = [one for one in capsys.readouterr().out.splitlines() if "measured" in one]
        found = read_arch(tmp_path / name / "arch.json")
        if name == "elsewhere":
            assert found.measured is None
            assert text == "measured on this machine: 2 ms"
            continue
        assert found.measured == Measured.beside(found.predicted, 2.0)
        assert text == f"measured on this machine: 2 ms, {found.measured.comparison}"
        files = [(tmp_path / name / file).read_bytes() for file in ("arch.json", "measured.json")]
        monkeypatch.setattr("search.device_times.measure_specs", None)
        search(*line, "--ckpt_path", "last")
        again = [(tmp_path / name / file).read_bytes() for file in ("arch.json", "measured.json")]
        assert again == files
        monkeypatch.setattr("search.device_times.measure_specs", lambda specs: [2.0] * len(specs))
    assert read_arch(run / "arch.json").measured is None


def test_a_target_above_the_dearest_network_is_noted(search, tiny_search, capsys):
    search(*tiny_search, "--model.target", "1e9")
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: target 1e+09 macs constrains nothing, as the dearest network ")


def test_another_controller_does_not_continue_a_search(search, tiny_search, capsys):
    search(*tiny_search)
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        search(*tiny_search, "--model.controller.kind", "tunas", "--ckpt_path", "last")
    assert leaving.value.code == 2
    expected = "error: the checkpoint's controller is ppo, this search's is tunas:"
    assert capsys.readouterr().err.startswith(expected)


def test_a_search_keeps_to_the_restrictions_of_its_space(search, tiny_search, tmp_path):
    limits = "[{block: 1, ops: [sepconv], ses: [0.0]}, {block: 4, skips: [pool], layers: [0]}]"
    search(*tiny_search, f"--model.space.restrictions={limits}")
    found = read_arch(tmp_path / "run" / "arch.json")
    first, fourth = found.arch.blocks[0], found.arch.blocks[3]
    assert (first.op, first.se, fourth.skip, fourth.layers) == ("sepconv", 0.0, "pool", 0)
    assert (tmp_path / "run" / "figures" / "entropy.png").exists()


@pytest.mark.slow
def test_the_last_stage_can_be_repeated(search, tiny_search, tmp_path):
    search(*tiny_search)
    run = tmp_path / "run"
    names = ("arch.json", "pareto.json", "metrics.csv")
    before = [(run / name).read_bytes() for name in names]
    (run / "arch.json").unlink()
    search(*tiny_search, "--ckpt_path", "last")
    assert [(run / name).read_bytes() for name in names] == before


# --- what a search reads --------------------------------------------------------------------------


def test_a_search_never_reads_the_test_split(search, tiny_search, monkeypatch):
    parts_read, original = set(), Digits._images

    def spy(self, *parts, augment):
        parts_read.update(parts)
        return original(self, *parts, augment=augment)

    monkeypatch.setattr(Digits, "_images", spy)
    search(*tiny_search)
    assert parts_read == {"weights", "reward", "val"}


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
    search(*tiny_search)
    arch = tmp_path / "run" / "arch.json"
    found = read_arch(arch)
    assert (found.classes, found.resolution, found.space.stem_stride) == (3, 12, 1)
    assert set((tmp_path / "read.txt").read_text().split()) == {"train", "val"}

    options = [
        "--data=my_images.MyImages", f"--data.folder={tmp_path}", f"--run={tmp_path / 'trained'}",
        f"--model.arch={arch}", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["retrain"])
    run_command(lambda: retrain(["fit", *options]))
    assert "test" not in (tmp_path / "read.txt").read_text()
    run_command(lambda: retrain(["test", *options]))
    assert json.loads((tmp_path / "trained" / "test.json").read_text())["images"] == 27


# --- continuing -----------------------------------------------------------------------------------


def test_another_latency_table_does_not_continue_a_search(search, tiny_search, tmp_path, capsys):
    search(*tiny_search)
    space = read_arch(tmp_path / "run" / "arch.json").space
    tables = [tmp_path / name for name in ("a.json", "b.json")]
    for number, path in enumerate(tables):
        random_table(space, number).save(path)
    run = tmp_path / "timed"
    timed = [*tiny_search, "--run", run, "--model.cost", "ms", "--model.table"]
    search(*timed, tables[0])
    assert read_arch(run / "arch.json").table == LatencyTable.load(tables[0]).hash
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        search(*timed, tables[1], "--ckpt_path", "last")
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: the checkpoint's cost is ms ")
    assert all(LatencyTable.load(path).hash in line for path in tables)


# --- several processes ----------------------------------------------------------------------------

PROBE = '''
import hashlib, json
from pathlib import Path
import pytorch_lightning as pl


class RankProbe(pl.Callback):
    """Writes what each rank sampled and what it holds at the end."""

    def __init__(self, folder: str):
        self.folder, self.paths = Path(folder), []

    def on_train_batch_start(self, trainer, module, *_):
        self.paths.append(repr(module.path()))

    def on_train_end(self, trainer, module):
        state = {}
        for part in ("supernet", "controller"):
            digest = hashlib.sha256()
            for name, tensor in sorted(getattr(module, part).state_dict().items()):
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
            state[part] = digest.hexdigest()
        written = {"state": state, "paths": self.paths}
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(written))
'''


def test_two_processes_sample_their_own_paths_and_end_bit_identical(tiny_search, tmp_path):
    (tmp_path / "rank_probe.py").write_text(PROBE)
    callback = {"class_path": "rank_probe.RankProbe", "init_args": {"folder": str(tmp_path)}}
    trainer = {"devices": 2, "strategy": "ddp_find_unused_parameters_true", "callbacks": [callback]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    line = [sys.executable, "-m", "search", "fit", *tiny_search, "-c", str(tmp_path / "two.yaml")]
    done = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["state"] == ranks[1]["state"]
    pairs = list(zip(ranks[0]["paths"], ranks[1]["paths"], strict=True))
    assert len(pairs) == 24
    # The first paths are those of the warm-up, in which nearly every decision is mixed.
    assert sum(mine != yours for mine, yours in pairs[4:]) >= 18
    assert len({path for rank in ranks for path in rank["paths"]}) > 30
    assert done.stdout.count("chosen:") == 1
    found = read_arch(tmp_path / "run" / "arch.json")
    assert found.predicted <= found.target
