"""What W&B is told of a training, its test and its files: one run, joined to the search before."""

import csv
import json
from pathlib import Path

import pytest
import torch

from retrain.__main__ import main as retrain
from retrain.export.export import main as export
from retrain.record import record_export, wandb_settings
from supernet.arch_file import load_spec
from supernet.cost.counts import count
from supernet.errors import UserError
from supernet.network.checkpoint import file_sha256
from tests.helpers.tiny import write_tiny_arch
from tests.helpers.wandb_run import FakeRun, read_offline

TRAINING = """
threads: 1
model:
  recipe: {optimizer: adamw, lr: 0.04, eps: 0, schedule: cosine, ema_decay: 0, bn_momentum: 0.1}
data: {class_path: Digits, init_args: {resolution: 8, batch_size: 64}}
trainer: {max_epochs: 2, limit_train_batches: 3, accelerator: cpu, devices: 1, log_every_n_steps: 1}
wandb: {tags: [shipped]}
"""


@pytest.fixture
def arch(tmp_path):
    return write_tiny_arch(tmp_path / "arch.json")


@pytest.fixture
def line(arch, tmp_path, monkeypatch):
    """Words of the training's command after its verb."""
    monkeypatch.setattr("sys.argv", ["retrain"])
    config = tmp_path / "retrain.yaml"
    config.write_text(TRAINING)
    return ["-c", str(config), "--run", str(tmp_path / "run"), "--model.arch", arch]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_training_test_and_export_write_to_one_run(line, arch, tmp_path, monkeypatch):
    fakes = []
    monkeypatch.setattr(
        "wandb.init", lambda **given: fakes.append((given, FakeRun())) or fakes[-1][1]
    )
    retrain(["fit", *line])
    retrain(["test", *line])
    run = tmp_path / "run"
    export(["--run", str(run), "--formats", "pt2"])
    fitted, tested, exported = (fake for _, fake in fakes)
    assert len({given["id"] for given, _ in fakes}) == 1
    assert {tuple(given["tags"]) for given, _ in fakes} == {("shipped",)}

    size = count(load_spec(arch).scaled(resolution=8, classes=10, stem_stride=1))
    name = f"architecture-{file_sha256(Path(arch))[:12]}"
    assert fitted.config["made_of"] == {"architecture": {"file": arch, "artifact": name}}
    assert fitted.config["model"]["recipe"]["lr"] == 0.04
    assert fitted.config["identity"]["macs"] == size.macs
    assert fitted.summary == {"params": size.params, "macs": size.macs}
    weights, report = fitted.artifacts
    assert list(report.manifest.entries) == ["report.html"]
    best = run / "checkpoints" / "best.ckpt"
    assert weights.name == f"weights-{file_sha256(best)[:12]}"

    # The step of its weights, which the rows of the training have reached, and not 0.
    (row,) = [row for row in tested.logged if "test/accuracy" in row]
    step = torch.load(best, weights_only=False)["global_step"] - 1
    assert row["trainer/global_step"] == step > 0
    with (run / "metrics.csv").open(newline="") as file:
        (kept,) = [one for one in csv.DictReader(file) if one["test/accuracy"]]
    assert kept["step"] == str(step)

    assert exported.config["made_of"]["weights"]["artifact"] == weights.name
    files, _ = exported.artifacts
    assert set(files.manifest.entries) == {"export.json", "network.pt2"}
    told = json.loads((run / "export.json").read_text())["formats"]["pt2"]
    assert exported.summary["export/pt2/bytes"] == told["bytes"]


@pytest.mark.slow  # three runs of W&B begin and end
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_offline_runs_hold_it_all(line, tmp_path):
    retrain(["fit", *line])
    retrain(["test", *line])
    run = tmp_path / "run"
    export(["--run", str(run), "--formats", "pt2"])
    kept = [read_offline(folder) for folder in sorted((run / "wandb").glob("offline-run-*"))]
    names = [name.partition("-")[0] for one in kept for name in one.artifacts]
    assert names == ["weights", "report", "report", "exported", "report"]
    (accuracy,) = {one.summary["test/accuracy"] for one in kept if "test/accuracy" in one.summary}
    assert accuracy == json.loads((run / "test.json").read_text())["accuracy"]
    assert {one.settings.run.run_id for one in kept if one.settings.run.run_id} == {
        (run / "wandb_id").read_text()
    }


def test_online_a_run_is_joined_to_what_it_begins_with(tmp_path, monkeypatch):
    fake = FakeRun(offline=False)
    monkeypatch.setattr("wandb.init", lambda **_: fake)
    (tmp_path / "config.yaml").write_text("wandb: {mode: online}")
    weights, file = tmp_path / "best.ckpt", tmp_path / "network.onnx"
    for path in (weights, file, tmp_path / "export.json"):
        path.write_text(path.name)
    (tmp_path / "network.openvino").mkdir()
    (tmp_path / "network.openvino" / "network.xml").write_text("layers")
    entries = {"onnx": {"file": file.name, "bytes": 12}, "openvino": {"file": "network.openvino"}}
    record_export(tmp_path, weights, entries)
    (files,) = fake.artifacts
    assert set(files.manifest.entries) == {
        "export.json",
        "network.onnx",
        "network.openvino/network.xml",
    }
    (used,) = fake.used
    assert used.name == f"weights-{file_sha256(weights)[:12]}"
    assert fake.summary == {"export/onnx/bytes": 12}


def test_a_run_without_config_or_tracking_is_told_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("wandb.init", lambda **_: pytest.fail("W&B is not asked"))
    record_export(tmp_path, tmp_path / "best.ckpt", {})
    (tmp_path / "config.yaml").write_text("wandb: {mode: disabled}")
    record_export(tmp_path, tmp_path / "best.ckpt", {})


@pytest.mark.parametrize("text", ["wandb: [1]", "wandb: {mode: loud}"])
def test_a_broken_section_is_one_line(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="wandb"):
        wandb_settings(tmp_path)
