"""CocoBoxes: the images and boxes of a folder in COCO's layout, dealt to splits, or one line."""

import dataclasses
import json
import shutil

import pytest
import torch
from PIL import Image
from torchvision.tv_tensors import BoundingBoxes

from retrain.detect.__main__ import main
from retrain.detect.coco_boxes import CocoBoxes
from retrain.detect.coco_json import CocoImage
from retrain.detect.digit_boxes import BoxImages, DigitBoxes
from supernet.command.process import run_command
from supernet.errors import UserError
from tests.helpers.coco import instances, write_coco
from tests.helpers.detectors import write_searched_arch

OWN = {"mean": (BoxImages.MEAN,) * 3, "std": (BoxImages.STD,) * 3}
"""Normalisation of DigitBoxes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    write_coco(root, "train2017", 30)
    write_coco(root, "val2017", 6)
    return root


def data_of(root, **changes):
    return CocoBoxes(str(root), resolution=64, batch_size=4, num_workers=0, **changes)


def test_images_and_boxes_are_those_that_were_drawn(folder):
    images, targets = next(iter(data_of(folder, **OWN).val_dataloader()))
    drawn = DigitBoxes(resolution=64, max_digits=3)._images("val")
    names = list(data_of(folder)._images("val").images)
    for image, target, (path, _) in zip(images, targets, names, strict=False):
        expected, boxes = drawn[int(path.split("/")[1].removesuffix(".png"))]
        inside = boxes["boxes"][:, 3] <= 48
        assert torch.equal(target["boxes"], boxes["boxes"][inside])
        assert torch.equal(target["labels"], boxes["labels"][inside])
        assert not isinstance(target["boxes"], BoundingBoxes)
        expected = (expected * BoxImages.STD + BoxImages.MEAN).clamp(0, 1)
        shown = image * BoxImages.STD + BoxImages.MEAN
        torch.testing.assert_close(shown[:, :48], expected[:, :48], atol=1 / 255, rtol=0)
        ground = torch.tensor([124, 116, 104]).view(3, 1, 1) / 255
        torch.testing.assert_close(shown[:, 48:], ground.expand(3, 16, 64), atol=1e-5, rtol=0)


def test_boxes_are_resized_with_their_image(folder):
    half = next(iter(CocoBoxes(str(folder), resolution=128, num_workers=0).val_dataloader()))[1]
    whole = next(iter(data_of(folder).val_dataloader()))[1]
    for one, other in zip(half, whole, strict=False):
        torch.testing.assert_close(one["boxes"], 2 * other["boxes"])


def test_what_no_file_says_is_dealt_by_content(folder):
    data = data_of(folder)
    data.prepare_data()
    held = {split: {one.path for one in held} for split, held in data.dealt.records.items()}
    assert {split: len(paths) for split, paths in held.items()}["val"] == 6
    assert held["weights"] | held["test"] == {f"train2017/{n}.png" for n in range(30)}
    assert not held["weights"] & held["test"]
    assert data.dealt_splits == {"test"}
    records = data.image_records()
    assert len({one.digest for one in records}) == len(records) == 36
    another = data_of(folder, split_seed=1).dealt.records["test"]
    assert {one.path for one in another} != held["test"]


def test_one_file_is_dealt_to_all_splits(folder):
    path, images = "annotations/instances_train2017.json", "train2017"
    data = data_of(folder, annotations=path, images=images, val_share=0.2, test_share=0.2)
    assert data.dealt_splits == {"val", "test"}
    lengths = [len(data._images(split)) for split in ("weights", "val", "test")]
    assert sum(lengths) == 30
    assert min(lengths) > 0


def test_training_crops_and_mirrors_images_with_their_boxes(folder):
    dataset = data_of(folder).train_dataloader().dataset
    torch.manual_seed(0)
    shapes = set()
    for index in range(len(dataset)):
        image, target = dataset[index]
        boxes = target["boxes"]
        assert image.shape == (3, 64, 64)
        assert len(boxes) == len(target["labels"])
        assert ((boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0) if len(boxes) else True
        shapes |= {tuple(box.tolist()) for box in boxes}
    plain = data_of(folder, crop=False, flip=0.0).train_dataloader().dataset
    told = {box for _, image in plain.images for box in image.boxes}
    assert {tuple(b.tolist()) for n in range(len(plain)) for b in plain[n][1]["boxes"]} == told
    assert not shapes <= told


@pytest.fixture
def small(tmp_path):
    for split in ("train2017", "val2017"):
        write_coco(tmp_path, split, 12)
    return tmp_path


def test_faulty_images_are_named_or_skipped(small):
    Image.new("RGB", (48, 64)).save(small / "train2017" / "3.png")  # on its side
    (small / "train2017" / "4.png").write_bytes(b"no image")
    (small / "val2017" / "5.png").unlink()
    with pytest.raises(UserError, match=r"3 of 24 images cannot be read: ") as said:
        data_of(small).prepare_data()
    assert "train2017/3.png (48x64 px, its json file says 64x48)" in str(said.value)
    assert "val2017/5.png (No such file or directory)" in str(said.value)
    data = data_of(small, on_bad_image="skip")
    assert len(data._images("val")) == 11
    assert any("3 of 24 images cannot be read" in note for note in data.notes)
    paths = [one.path for one in data.image_records()]
    assert not {"train2017/3.png", "train2017/4.png", "val2017/5.png"} & set(paths)


TINY, EDGE = [10.0, 10.0, 0.5, 0.4], [200.0, 5.0, 100.0, 20.0]
"""In an image of 300x100 px."""


def test_boxes_below_a_pixel_are_left_out_of_training_alone(tmp_path):
    (tmp_path / "annotations").mkdir()
    content = instances([("0.png", 300, 100)], [(100, 1, TINY), (100, 1, EDGE)])
    for number, split in enumerate(("train2017", "val2017", "test2017")):
        (tmp_path / split).mkdir()
        Image.new("RGB", (300, 100), (number, 0, 0)).save(tmp_path / split / "0.png")
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
    data = CocoBoxes(str(tmp_path), test="test2017", crop=False, flip=0, num_workers=0)
    tiny, edge = ([x, y, x + w, y + h] for x, y, w, h in (TINY, EDGE))
    scaled = torch.tensor([tiny, edge]) * 320 / 300
    for split, boxes in {"weights": scaled[1:], "val": scaled, "test": scaled}.items():
        _, kept = data._images(split, augment=split == "weights")[0]
        torch.testing.assert_close(kept["boxes"], boxes)
        assert kept["boxes"].max() == 320
        assert len(kept["labels"]) == len(boxes)


def test_faulty_boxes_are_named_or_skipped(small):
    path = small / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"][:7]:
        annotation["bbox"][2] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"7 of \d+ boxes of .*: annotation 1, .* and 2 more; mend"):
        data_of(small)
    data = data_of(small, on_bad_image="skip")
    assert "7 faulty boxes skipped" in data.notes


def test_other_categories_in_another_file_are_refused(small):
    path = small / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("digit 4", "digit four"))
    with pytest.raises(UserError, match=r"instances_val2017.json has other categories than"):
        data_of(small)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"resolution": 32}, "resolution is 32, it must be at least 48"),
        ({"val_share": 0.6}, "val_share is 0.6, it must be above 0 and below 0.5"),
        ({"flip": 1.5}, "flip is 1.5, it must be at least 0 and at most 1"),
        ({"on_bad_image": "ask"}, "on_bad_image is 'ask', allowed are error, skip"),
        ({"val": "valid"}, r"cannot read .*instances_valid.json: No such file"),
    ],
)
def test_bad_settings_are_one_line(folder, settings, reason):
    with pytest.raises(UserError, match=reason):
        CocoBoxes(str(folder), **settings)


def test_an_empty_split_is_named(small):
    with pytest.raises(UserError, match=r"none of 24 images of .* is for test: add images,"):
        data_of(small, test_share=1e-6).prepare_data()


def test_the_command_trains_on_the_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["detect"])
    arch = write_searched_arch(tmp_path / "arch.json", width=0.1, head=32)
    options = [
        f"--run={tmp_path / 'run'}",
        f"--model.arch={arch}",
        "--model.ssdlite.taps=[8,16]",
        "--model.ssdlite.extras=[16]",
        "--data=CocoBoxes",
        f"--data.root={folder}",
        "--data.resolution=64",
        "--data.batch_size=8",
        "--data.num_workers=0",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
    ]
    run_command(lambda: main(["fit", *options]))
    shown = capsys.readouterr().out
    assert "data: 10 classes (digit 0, digit 1" in shown
    assert "images without boxes" in shown
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert best["data"]["classes"][3] == "digit 3"
    assert best["data"]["preprocessing"]["background"] == (124, 116, 104)

    options += ["--ckpt_path=last", f"--data.root={shutil.copytree(folder, tmp_path / 'copy')}"]
    move_box(tmp_path / "copy" / "annotations" / "instances_val2017.json")
    run_command(lambda: main(["fit", *options]))
    assert "data: 1 with other boxes since the run began" in capsys.readouterr().out
    move_box(tmp_path / "copy" / "annotations" / "instances_train2017.json")
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: main(["fit", *options]))
    refused = "error: the training images, or their boxes, are not those of the run to continue ("
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{refused}2 with other boxes): ")


def move_box(path):
    """Let a box of a file of instances begin half a pixel further right."""
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 0.5
    content["annotations"][0]["bbox"][2] -= 0.5
    path.write_text(json.dumps(content))


def test_boxes_and_their_classes_tell_images_apart():
    boxes = ((0.0, 0.0, 4.0, 4.0), (1.0, 1.0, 5.0, 5.0))
    image = CocoImage("a.png", 8, 8, boxes, (1, 2))
    others = [
        dataclasses.replace(image, labels=(2, 1)),
        dataclasses.replace(image, boxes=(boxes[0], (1.0, 1.0, 5.0, 5.25))),
        dataclasses.replace(image, boxes=(), labels=()),
    ]
    assert len({one.digest() for one in (image, *others)}) == 4
    assert dataclasses.replace(image, path="b.png").digest() == image.digest()
