"""The hub folder of a run: what timm and Hugging Face's own reader find in it, what is refused."""

import dataclasses
import hashlib
import json
import types

import huggingface_hub
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard

from retrain.card.command import main
from supernet.arch_file import read_arch
from supernet.data_description import DataDescription, Preprocessing
from supernet.network.network import Network
from tests.helpers.programs import refusal
from tests.helpers.tiny import write_tiny_arch

LICENCE = ["--license", "apache-2.0"]
STEPS = Preprocessing(9, 8, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def run(tmp_path):
    """A retraining, tested and exported, as its files tell; the exported file is any bytes."""
    search, run = tmp_path / "search", tmp_path / "net"
    for folder in (search / "figures", run / "checkpoints"):
        folder.mkdir(parents=True)
    write_tiny_arch(search / "arch.json")
    (search / "figures" / "pareto.png").write_bytes(b"a picture")
    spec = read_arch(search / "arch.json").spec
    torch.manual_seed(0)
    weights = Network(spec).state_dict()
    classes = tuple(f"class_{number}" for number in range(spec.classes))
    checkpoint = {
        "spec": spec.to_json(),
        "state_dict": {f"network.{name}": weight for name, weight in weights.items()},
        "data": dataclasses.asdict(DataDescription(classes, "d1", STEPS)),
        "validation": {"accuracy": 0.75},
        "versions": {"torch": "2.15.0"},
    }
    best = run / "checkpoints" / "best.ckpt"
    torch.save(checkpoint, best)
    config = {
        "model": {"arch": str(search / "arch.json")},
        "data": {"class_path": "supernet.data.Digits"},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    figures = {"accuracy": 0.625, "images": 8, "checkpoint_sha256": sha256(best)}
    (run / "test.json").write_text(json.dumps(figures))
    (run / "network.onnx").write_bytes(b"a network")
    entry = {"file": "network.onnx", "sha256": sha256(run / "network.onnx"), "latency_ms": 0.25}
    metadata = {"classes": classes, "preprocessing": "steps", **dataclasses.asdict(STEPS)}
    report = {
        "checkpoint_sha256": sha256(best),
        "metadata": metadata,
        "formats": {"onnx": {**entry, "failure": ""}},
    }
    (run / "export.json").write_text(json.dumps(report))
    return run


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def make(run, *words):
    main(["--run", str(run), *LICENCE, *words])
    return run / "card"


def test_timm_builds_the_network_with_its_weights_from_the_folder_alone(run, tmp_path):
    card = make(run).rename(tmp_path / "elsewhere")
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    spec = read_arch(card / "arch.json").spec
    network = Network(spec)
    weights = {name.removeprefix("network."): w for name, w in checkpoint["state_dict"].items()}
    network.load_state_dict(weights)
    (run / "checkpoints" / "best.ckpt").unlink()
    images = torch.randn(2, 3, spec.resolution, spec.resolution)
    loaded = timm.create_model(f"local-dir:{card}", pretrained=True).eval()
    assert torch.equal(loaded(images), network.eval()(images))
    told = loaded.pretrained_cfg
    assert tuple(told["label_names"]) == tuple(checkpoint["data"]["classes"])
    assert tuple(told["mean"]) == STEPS.mean
    assert told["interpolation"] == "bicubic"
    levels = timm.create_model(f"local-dir:{card}", pretrained=True, features_only=True)
    assert torch.equal(levels.conv_stem.weight, network.conv_stem.weight)
    other = timm.create_model(f"local-dir:{card}", pretrained=True, num_classes=spec.classes + 1)
    assert torch.equal(other.conv_head.weight, network.conv_head.weight)
    assert other(images).shape == (2, spec.classes + 1)


def test_the_card_says_what_the_hub_asks_for(run):
    card = make(run, "--name", "my <net>")
    read = ModelCard.load(card / "README.md")
    assert (read.data.license, read.data.library_name) == ("apache-2.0", "timm")
    assert read.data.pipeline_tag == "image-classification"
    (result,) = read.data.eval_results
    assert (result.dataset_name, result.dataset_split) == ("Digits", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.625)
    text = read.text
    assert "# my \\<net\\>" in text
    assert "class\\_0, class\\_1" in text
    assert "**62.50%** of 8 test images" in text
    assert "| `network.onnx` | onnx | 9 | 0.25 |  |" in text
    assert "![pareto](figures/pareto.png)" in text
    assert f'"local-dir:{card}"' in text
    held = {str(path.relative_to(card)) for path in card.rglob("*") if path.is_file()}
    assert held == {
        *("README.md", "config.json", "model.safetensors", "metadata.json", "arch.json"),
        *("network.onnx", "figures/pareto.png"),
    }
    assert json.loads((card / "metadata.json").read_text())["accuracy"]["split"] == "test"


def test_what_was_not_tested_is_judged_by_validation_images_and_says_so(run):
    change(run / "test.json", checkpoint_sha256="of other weights")
    read = ModelCard.load(make(run) / "README.md")
    assert read.data.eval_results[0].dataset_split == "validation"
    assert "**75.00%** of validation images. The weights were chosen on these images" in read.text


def test_a_file_that_is_a_folder_is_taken_whole_and_remarks_are_told(run):
    package = run / "network.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "weights").write_bytes(b"weights")
    hashes = {"Data/weights": sha256(package / "Data" / "weights")}
    judged = {"accuracy": 0.5, "fp32_accuracy": 0.75}
    formats = {
        "coreml": {"file": package.name, "sha256": hashes, "failure": "", "unverified": "a Mac"},
        "onnx-int8": {
            "file": "network.onnx",
            "sha256": sha256(run / "network.onnx"),
            "failure": "",
            "accuracy": judged,
        },
    }
    change(run / "export.json", formats=formats)
    card = make(run)
    assert (card / package.name / "Data" / "weights").read_bytes() == b"weights"
    text = (card / "README.md").read_text()
    assert f"| `{package.name}` | coreml | 7 |  | a Mac |" in text
    assert "| accuracy 50.00% of test images, in floats 75.00% |" in text


def test_a_later_card_takes_away_what_it_does_not_hold(run, tmp_path):
    (tmp_path / "terms.txt").write_text("all rights reserved")
    words = ["--run", str(run), "--license", "other", "--license_file", str(tmp_path / "terms.txt")]
    main(words)
    card = run / "card"
    assert (card / "LICENSE").read_text() == "all rights reserved"
    (card / "network.pte").write_bytes(b"of an earlier export")
    (card / "network.openvino").mkdir()
    (card / "network.openvino" / "network.xml").write_text("too")
    (card / "notes.md").write_text("the user's")
    make(run)
    left = {path.name for path in card.iterdir()}
    assert "notes.md" in left
    assert not {"network.pte", "network.openvino", "LICENSE"} & left


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "export.json").unlink(), "export.json is missing: run `mnasnet export"),
        (lambda run: (run / "export.json").write_text("{"), "export.json is broken ("),
        (lambda run: change(run / "export.json", checkpoint_sha256="x"), "export.json is not of"),
        (lambda run: change(run / "export.json", metadata={}), "export.json lacks classes or pre"),
        (lambda run: (run / "network.onnx").write_bytes(b"x"), "network.onnx is not as it was ex"),
        (lambda run: (run / "network.onnx").unlink(), "network.onnx is not as it was exported"),
        (
            lambda run: change(
                run / "export.json", formats={"onnx": {"file": "network.onnx", "failure": "x"}}
            ),
            "network.onnx has failed its check",
        ),
        (
            lambda run: change(run / "export.json", formats={"onnx": {"file": "../secret"}}),
            "../secret has failed its check",
        ),
        (lambda run: (run / "checkpoints" / "best.ckpt").unlink(), "no checkpoint at "),
        (lambda run: (run / "card").write_text("x"), "card is no folder: name another --out"),
        (
            lambda run: ((run / "card").mkdir(), (run / "card" / "mine").touch()),
            "card holds mine, and no card that was made here: name another --out",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(run, capsys, spoil, reason):
    spoil(run)
    assert reason in refusal(main, ["--run", str(run), *LICENCE], capsys)
    assert not (run / "card" / "README.md").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "the following arguments are required: --license"),
        (["--license", "Do what you like"], "--license is 'Do what you like', it must be an ident"),
        (["--license", "other"], "--license other needs its text: give --license_file FILE"),
        (["--license", "mit", "--license_file", "gone"], "--license_file gone is no file"),
    ],
)
def test_a_licence_is_asked_for(run, capsys, words, reason):
    assert refusal(main, ["--run", str(run), *words], capsys).startswith(reason)


class Hub:
    """The part of huggingface_hub's HfApi that a push calls."""

    pushed: dict

    def __init__(self, **options):
        pass

    def create_repo(self, name, private, exist_ok):
        if "/" not in name:
            raise ValueError("no\nowner")
        Hub.pushed = {"name": name, "private": private}
        return types.SimpleNamespace(repo_id=name)

    def upload_folder(self, **options):
        Hub.pushed |= options


def test_a_push_uploads_the_files_of_the_card_and_no_others(run, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    make(run)
    (run / "card" / "notes.md").write_text("the user's")
    card = make(run, "--push", "me/net", "--private")
    assert Hub.pushed["name"] == Hub.pushed["repo_id"] == "me/net"
    assert Hub.pushed["private"]
    assert Hub.pushed["folder_path"] == card
    assert {"README.md", "model.safetensors", "network.onnx"} <= set(Hub.pushed["allow_patterns"])
    assert "notes.md" not in Hub.pushed["allow_patterns"]
    assert '"hf-hub:me/net"' in (card / "README.md").read_text()
    line = refusal(main, ["--run", str(run), *LICENCE, "--push", "net"], capsys, output=True)
    assert line.startswith("cannot push to net (ValueError: no owner): ")
    assert "is whole; log in with `hf auth login`" in line


def test_without_a_network_the_folder_is_made_and_the_push_is_one_line(run, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    line = refusal(main, ["--run", str(run), *LICENCE, "--push", "me/net"], capsys, output=True)
    assert line.startswith("cannot push to me/net (OfflineModeIsEnabled: ")
    assert (run / "card" / "README.md").exists()
