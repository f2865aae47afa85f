"""What shipped files say: figures of the very weights, and nothing that was not given."""

import dataclasses
import json
from pathlib import Path

import pytest

from retrain.export.comparison import compare_metadata
from retrain.export.formats.formats import FORMATS
from retrain.export.formats.metadata import accuracy_of, as_text, as_values, describe
from supernet.data_description import DataDescription, Preprocessing
from supernet.network.checkpoint import TrainedNetwork, file_sha256
from supernet.space.published import published_spec

SPEC = published_spec("mnasnet_small").scaled(resolution=16, classes=2)
STEPS = Preprocessing(18, 16, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (1, 2, 3))
DATA = DataDescription(("Katze", "Hund äöü 犬"), digest="ab12", preprocessing=STEPS)
TRAINED = TrainedNetwork(SPEC, {}, DATA, {"accuracy": 0.5, "loss": 0.25}, {"torch": "2.15"}, None)


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    return tmp_path / "best.ckpt"


def report(folder, **fields):
    (folder / "test.json").write_text(json.dumps(fields))
    return folder / "test.json"


def test_metadata_survive_as_text():
    told = describe(TRAINED, DATA, "classification", {"split": "val", "accuracy": 0.5})
    assert as_values(as_text(told)) == told
    assert told["classes"] == ["Katze", "Hund äöü 犬"]
    assert {name: told[name] for name in ("resize", "crop", "background")} == {
        "resize": 18,
        "crop": 16,
        "background": [1, 2, 3],
    }
    assert told["input_shape"] == ["batch", 3, 16, 16]
    assert told["data_digest"] == "ab12"
    assert told["trained_with"] == {"torch": "2.15"}


def test_a_datamodule_of_its_own_code_tells_no_steps():
    own = dataclasses.replace(DATA, preprocessing=None)
    told = describe(TRAINED, own, "classification", {})
    assert told["preprocessing"] == "the datamodule prepares images by code of its own"
    assert not {"resize", "crop", "mean", "std"} & set(told)


def test_figures_are_of_the_test_where_these_weights_were_tested(checkpoint):
    fields = {"accuracy": 0.75, "images": 36, "arch": "arch.json", "loss": float("inf")}
    path = report(checkpoint.parent, **fields, checkpoint_sha256=file_sha256(checkpoint))
    expected = {"split": "test", "accuracy": 0.75, "images": 36}
    assert accuracy_of(TRAINED, checkpoint, path) == expected
    checkpoint.write_bytes(b"others")
    expected = {"split": "val", "accuracy": 0.5, "loss": 0.25}
    assert accuracy_of(TRAINED, checkpoint, path) == expected


@pytest.mark.parametrize("content", [None, "{", "[]", '{"accuracy": 1.0}'])
def test_figures_are_of_the_validation_where_no_test_is_known(checkpoint, content):
    path = checkpoint.parent / "test.json"
    if content:
        path.write_text(content)
    assert accuracy_of(TRAINED, checkpoint, path)["split"] == "val"
    unjudged = dataclasses.replace(TRAINED, figures={})
    assert accuracy_of(unjudged, checkpoint, path) == {}


GIVEN = {"classes": ["a"], "resize": 18}


@pytest.mark.parametrize(
    ("told", "failure"),
    [
        ({**GIVEN, "opset": 18}, ""),
        (GIVEN, ""),
        ({**GIVEN, "opset": 17}, "it is written in opset 17, asked for was 18"),
        ({**GIVEN, "resize": 19}, "it does not say what it was given: resize"),
        ({"classes": ["a"]}, "it does not say what it was given: resize"),
        ({**GIVEN, "more": 1}, "it does not say what it was given: more"),
        (ValueError("no metadata"), "its metadata cannot be read back: no metadata (ValueError)"),
    ],
)
def test_what_a_file_says_is_read_back(told, failure):
    def read(path):
        if isinstance(told, Exception):
            raise told
        return dict(told)

    kind = dataclasses.replace(FORMATS["onnx"], read_metadata=read)
    assert compare_metadata(kind, Path("x.onnx"), GIVEN, 18) == failure
