"""Images that files are checked on: the run's own where they are, and of the run's classes."""

import dataclasses
import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from retrain.export.export import data_arguments
from retrain.export.images import NUM_IMAGES, check_images, generated_images
from supernet.data.image_folder import ImageFolder
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError
from supernet.network.checkpoint import TrainedNetwork
from supernet.run.data_record import DataRecord, record_file, write_record
from supernet.space.published import published_spec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPEC = published_spec("mnasnet_small").scaled(resolution=16, classes=3, stem_stride=1)


def trained_on(classes):
    data = DataDescription(tuple(classes)) if classes else None
    return TrainedNetwork(SPEC, {}, data, {}, {}, None)


@pytest.fixture
def run(tmp_path):
    """A run on a folder of three classes."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "fox"):
        add_class(tmp_path / "images", name, rng)
    arguments = {"root": str(tmp_path / "images"), "resolution": 16, "num_workers": 0}
    config = {"data": {"class_path": "ImageFolder", "init_args": arguments}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def add_class(root, name, rng):
    (root / name).mkdir(parents=True)
    for number in range(20):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / f"{number}.png")


def test_the_runs_validation_images_are_taken_where_they_are(run):
    checked = check_images(run, trained_on(["cat", "dog", "fox"]), None, {})
    data = ImageFolder(str(run / "images"), resolution=16, num_workers=0)
    expected = torch.stack([image for image, _ in data.val_dataloader().dataset])
    assert torch.equal(checked.images, expected)
    assert checked.words == f"{len(expected)} validation images"


def test_of_many_validation_images_some_of_every_part_are_taken(run, monkeypatch):
    monkeypatch.setattr("retrain.export.images.NUM_IMAGES", 3)
    checked = check_images(run, trained_on(["cat", "dog", "fox"]), None, {"val_share": 0.4})
    settings = {"resolution": 16, "num_workers": 0, "val_share": 0.4}
    images = ImageFolder(str(run / "images"), **settings).val_dataloader().dataset
    total = len(images)
    assert total > 12
    expected = [images[place][0] for place in (0, total // 3, 2 * total // 3)]
    assert torch.equal(checked.images, torch.stack(expected))


def test_without_the_data_images_are_generated_and_said(run, capsys):
    (run / "images").rename(run / "elsewhere")
    checked = check_images(run, trained_on(["cat", "dog", "fox"]), None, {})
    assert checked.words == "256 generated images"
    assert checked.data.classes == ("cat", "dog", "fox")
    said = capsys.readouterr().out
    assert f"no data: {run / 'images'} is not a folder" in said
    assert said.count("\n") == 1


def test_the_data_are_where_the_command_says(run):
    (run / "images").rename(run / "elsewhere")
    network = trained_on(["cat", "dog", "fox"])
    checked = check_images(run, network, None, {"root": str(run / "elsewhere")})
    assert checked.source == "validation"


def test_any_argument_of_the_data_may_be_given_as_text(run):
    (run / "images").rename(run / "2024")
    changes = {"root": str(run / "2024"), "mean": "[0.5, 0.5, 0.5]", "batch_size": "7"}
    own = check_images(run, trained_on(["cat", "dog", "fox"]), None, changes).images
    data = ImageFolder(changes["root"], resolution=16, num_workers=0, mean=(0.5, 0.5, 0.5))
    assert torch.equal(own[0], data.val_dataloader().dataset[0][0])
    with pytest.raises(UserError, match="does not describe data"):
        check_images(run, trained_on(["cat", "dog", "fox"]), None, {"rooot": "x"})


@pytest.mark.parametrize(("source", "changes"), [("validation", {}), (None, {"root": "nowhere"})])
def test_data_that_are_asked_for_must_be_there(run, source, changes):
    (run / "images").rename(run / "elsewhere")
    with pytest.raises(UserError, match="is not a folder"):
        check_images(run, trained_on(["cat", "dog", "fox"]), source, changes)


def test_generated_images_need_no_settings_of_the_run(tmp_path):
    checked = check_images(tmp_path, trained_on(["cat", "dog", "fox"]), "generated", {})
    assert checked.source == "generated"
    assert checked.images.shape == (NUM_IMAGES, 3, 16, 16)


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        (["dog", "fox", "owl"], "have a class 'cat' that was not trained and lack the class 'owl'"),
        (["fox", "dog", "cat"], "order classes otherwise (3 classes, trained on 3)"),
    ],
)
def test_other_classes_than_the_trained_ones_are_refused_by_name(run, classes, line):
    with pytest.raises(UserError, match=re.escape(line)) as refusal:
        check_images(run, trained_on(classes), None, {})
    assert "--images generated" in str(refusal.value)
    assert check_images(run, trained_on(classes), "generated", {}).data.classes == tuple(classes)


def test_a_class_that_was_added_or_removed_since_is_refused_by_name(run):
    network = trained_on(["cat", "dog", "fox"])
    add_class(run / "images", "bird", np.random.default_rng(1))
    with pytest.raises(UserError, match=r"a class 'bird' that was not trained \(4 .*trained on 3"):
        check_images(run, network, None, {})
    for name in ("bird", "dog"):
        (run / "images" / name).rename(run / name)
    with pytest.raises(UserError, match="lack the class 'dog'"):
        check_images(run, network, None, {})


def test_a_changed_folder_is_said_with_its_counts(run, capsys):
    before = RunData(ImageFolder(str(run / "images"), resolution=16, num_workers=0), "retrain", 0)
    write_record(run, DataRecord(before.classes, before.records))
    network = dataclasses.replace(trained_on([]), data=before.description)
    check_images(run, network, None, {})
    assert capsys.readouterr().out.count("data:") == 1
    (run / "images" / "cat" / "0.png").rename(run / "images" / "dog" / "cat.png")
    (run / "images" / "cat" / "1.png").unlink()
    assert check_images(run, network, None, {}).data == before.description
    said = capsys.readouterr().out
    assert said.startswith("data: 3 classes (cat, dog, fox); ")
    assert (
        said.partition("\n")[2]
        == "data: changed since the training: 1 removed, 1 relabelled, 1 renamed\n"
    )
    record_file(run, before.description.digest).unlink()
    check_images(run, network, None, {})
    assert "how is unknown, as" in capsys.readouterr().out


def test_a_checkpoint_that_tells_no_classes_takes_those_of_the_data(run):
    """Version 0.1 wrote such."""
    assert check_images(run, trained_on([]), None, {}).data.classes == ("cat", "dog", "fox")
    add_class(run / "images", "bird", np.random.default_rng(1))
    with pytest.raises(UserError, match="have 4 classes, but the network was trained on 3"):
        check_images(run, trained_on([]), None, {})
    (run / "images").rename(run / "elsewhere")
    assert check_images(run, trained_on([]), None, {}).data.classes == ("0", "1", "2")


def test_names_replace_numbers_of_a_datamodule_that_had_none(run):
    checked = check_images(run, trained_on("012"), None, {})
    assert checked.data.classes == ("cat", "dog", "fox")
    assert checked.data.preprocessing == Preprocessing(18, 16, "bicubic", MEAN, STD)


def test_generated_images_are_always_the_same_and_spread_like_normalised_ones():
    images = generated_images(SPEC)
    assert torch.equal(images, generated_images(SPEC))
    assert images.mean().abs() < 0.1
    assert 0.4 < images.std() < 1.5
    assert len({tuple(image.flatten()[:3].tolist()) for image in images}) == NUM_IMAGES


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], {}),
        (["--data.root", "a b"], {"root": "a b"}),
        (
            ["--data.root=x=y", "--data.init_args.batch_size", "4"],
            {"root": "x=y", "batch_size": "4"},
        ),
        (["--data.root", "2024"], {"root": "2024"}),
    ],
)
def test_arguments_of_the_data_are_read(words, arguments):
    assert data_arguments(words) == arguments


@pytest.mark.parametrize("words", [["--date.root", "x"], ["x"], ["--data.root"], ["--data.=x"]])
def test_other_words_are_refused(words):
    with pytest.raises(UserError, match=r"unrecognized arguments|needs a value"):
        data_arguments(words)
