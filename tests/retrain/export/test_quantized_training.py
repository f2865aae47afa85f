"""Quantization-aware training: the network is trained, and what was trained is shipped."""

import dataclasses
import importlib.util
import warnings
from types import SimpleNamespace

import pytest
import torch
import yaml

from retrain.export import int8_files, quantization
from retrain.export.export import main
from retrain.export.formats.executorch_program import open_executorch
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.shipment import Shipment
from retrain.export.int8_files import prepared
from retrain.export.quantization import Quantization
from retrain.export.quantized_training import (
    LEAST_STEPS,
    QuantizedTraining,
    conversion_failure,
    converted,
    fake_quantized,
    training_of,
)
from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.network.checkpoint import load_network
from supernet.training.recipe import Recipe
from tests.helpers.exports import report_of, status_of

needs_executorch = pytest.mark.skipif(
    not importlib.util.find_spec("executorch"),
    reason="needs pip install mnasnet-search[executorch]",
)
RECIPE = Recipe(optimizer="adamw", lr=0.04, eps=0, ema_decay=0, bn_momentum=0.1)


def apart(found, expected):
    """Difference of logits, over their length."""
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture(scope="module")
def shipment(trained):
    return Shipment(
        load_network(trained / "checkpoints" / "best.ckpt"),
        {"classes": list("0123456789"), "input_shape": ["batch", 3, 8, 8]},
    )


@pytest.fixture(scope="module")
def images():
    """Test images (B, 3, R, R)."""
    data = Digits(resolution=8)
    data.setup("test")
    return next(iter(data.test_dataloader()))[0]


def digits():
    data = RunData(Digits(resolution=8, batch_size=32), "retrain", seed=0)
    data.inner.setup("fit")
    return data


@pytest.fixture(scope="module")
def networks(shipment, images):
    """The network after a short training, and in int8; and its logits without any rounding."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torchao, which pytest makes errors of
        network = fake_quantized(shipment)
        for module in network.modules():
            if hasattr(module, "disable_fake_quant"):
                module.disable_fake_quant()
        unrounded = network(images)
        for module in network.modules():
            if hasattr(module, "enable_fake_quant"):
                module.enable_fake_quant()
        with torch.enable_grad():
            QuantizedTraining(RECIPE, num_steps=4).run(network, shipment.network, digits())
        return network, converted(network), unrounded


@needs_executorch
@torch.no_grad()
def test_what_is_converted_is_what_was_trained(shipment, networks, images):
    """On a network whose norms have an eps of 1e-3, which torchao takes for 1e-5."""
    assert {one.eps for one in shipment.network.modules() if hasattr(one, "eps")} == {1e-3}
    network, small, unrounded = networks
    assert apart(unrounded, shipment.network(images)) < 1e-4, "torchao has changed the network"
    assert apart(small(images), network(images)) < 0.05
    before, after = (dict(one.named_parameters()) for one in (shipment.network, network))
    assert before.keys() == after.keys()
    for name in ("conv_stem.weight", "bn1.weight", "bn1.bias", "classifier.weight"):
        assert not torch.equal(before[name], after[name])
    assert conversion_failure(network, small, images) == ""
    other = conversion_failure(network, lambda images: 1.06 * network(images), images)
    assert other.startswith("logits in int8 differ by 6.0% of their length")


@needs_executorch
@pytest.mark.filterwarnings("ignore")
def test_the_command_trains_once_and_ships_both_files(run, networks, monkeypatch, images, capsys):
    _tell_training(run)
    for name, limit in {
        "MAX_RELATIVE_DIFFERENCE": 1,
        "MAX_DIFFERENCE": 1,
        "MIN_AGREEMENT": 0,
    }.items():
        monkeypatch.setattr(quantization, name, limit)  # the network has hardly been trained
    runs = []
    monkeypatch.setattr(QuantizedTraining, "run", lambda *given: runs.append(given))
    monkeypatch.setattr(int8_files, "fake_quantized", lambda shipment: networks[0])
    monkeypatch.setattr(int8_files, "converted", lambda network: networks[1])
    main(["--run", str(run), "--quantize", "qat", "--max_accuracy_loss", "50"])
    entries = report_of(run)["formats"]
    assert list(entries) == ["executorch", "executorch-qat", "pt2", "pt2-qat"]
    assert len(runs) == 1
    for name in ("executorch", "pt2"):
        small = entries[f"{name}-qat"]
        assert small["file"] == f"network.qat.{FORMATS[name].suffix}"
        assert small["quantized_training_steps"] == LEAST_STEPS
        assert small["accuracy"]["split"] == "test"
        told = FORMATS[name].read_metadata(run / small["file"])
        assert told["accuracy"] == small["accuracy"]
    for name in ("executorch", "executorch-qat"):
        assert 0.9 < entries[name]["delegated_share"] <= 1
        assert 0 < entries[name]["latency_ms"] < 100
    assert "100.0% of operators in XNNPACK" in capsys.readouterr().out
    program = open_executorch(run / "network.qat.pte")
    (torchs,) = FORMATS["pt2"].open_file(run / "network.qat.pt2")(images[:16])
    assert apart(program(images[:16])[0], torchs) < 0.05


def _tell_training(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"model": {"recipe": {"optimizer": "adamw"}}, "trainer": {"max_epochs": 2}}
    (run / "config.yaml").unlink()
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("epochs", [2, 100])
def test_the_length_follows_that_of_the_training(tmp_path, epochs):
    data = digits()
    config = {
        "data": {"class_path": "supernet.data.Digits"},
        "model": {"recipe": {"lr": 0.5}},
        "trainer": {"max_epochs": epochs},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    training = training_of(tmp_path / "config.yaml", data)
    per_epoch = len(data.inner.train_dataloader().dataset) // 32
    assert training.num_steps == max(LEAST_STEPS, round(0.05 * epochs * per_epoch))
    assert training.gentle.lr == pytest.approx(0.005)


def test_a_run_that_does_not_tell_its_training_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {class_path: supernet.data.Digits}")
    with pytest.raises(UserError, match="give one of them a whole number above 0"):
        training_of(tmp_path / "config.yaml", digits())


@pytest.mark.parametrize(("form", "method"), [("pt2", "qat"), ("executorch", "int8")])
def test_a_missing_package_is_one_line(run, monkeypatch, capsys, form, method):
    here = dataclasses.replace(FORMATS["executorch"], package="torch")
    monkeypatch.setitem(FORMATS, "executorch", here)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchao" else find(name)
    )
    assert status_of("--run", run, "--formats", form, "--quantize", method) == 2
    error = capsys.readouterr().err
    assert error == f"error: --quantize {method} needs `pip install mnasnet-search[executorch]`\n"


def test_formats_without_such_a_training_are_refused(tmp_path):
    checked = SimpleNamespace(run_data=None)
    with pytest.raises(UserError, match="onnx has no --quantize qat: give --formats pt2 or exec"):
        prepared(
            Quantization(method="qat"), ["onnx"], SimpleNamespace(ssdlite=None), checked, tmp_path
        )


def test_half_a_point_may_be_lost_by_default():
    assert Quantization(method="qat").allowed_loss == 0.5
    assert Quantization(method="qat", max_accuracy_loss=2).allowed_loss == 2
    assert Quantization().allowed_loss == 1
