"""Images of a folder: bad ones, records, and what a run that goes on keeps."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from supernet.data.image_folder import ImageFolder
from supernet.data.records import data_digest
from supernet.errors import UserError


def write(path, seed):
    pixels = np.random.default_rng(seed).integers(256, size=(9, 12, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(30):
            write(tmp_path / "images" / name / f"{number}.png", 100 * label + number)
    return tmp_path / "images"


def folder(root, **settings):
    return ImageFolder(str(root), resolution=8, batch_size=4, num_workers=0, **settings)


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def trained(data):
    return [path for path, _ in data.found.files("weights", "reward")]


def refused(data):
    with pytest.raises(UserError) as error:
        data.prepare_data()
    line = str(error.value)
    assert "\n" not in line
    return line


def test_all_bad_images_are_named_at_once_before_anything_is_read(root):
    truncate(root / "cat" / "3.png")
    (root / "dog" / "5.png").write_bytes(b"no image")
    line = refused(folder(root))
    assert line.startswith("2 of 60 images cannot be read: cat/3.png (")
    assert "dog/5.png (cannot identify image file)" in line
    assert line.endswith("repair them, or go on without them: --data.on_bad_image skip")


def test_many_bad_images_are_counted(root):
    for number in range(25):
        (root / "cat" / f"{number}.png").write_bytes(b"")
    line = refused(folder(root))
    assert line.startswith("25 of 60 images cannot be read: ")
    assert line.count(".png") == 20
    assert " and 5 more; repair" in line


def test_bad_images_are_skipped_and_named_when_asked_for(root):
    before = folder(root).found
    bad = {record.path for record in before.records()[::9]}
    for path in bad:
        (root / path).write_bytes(b"no image")
    data = folder(root, on_bad_image="skip")
    used = {r.path: r.split for r in data.image_records() if r.split != "skipped"}
    assert used == {r.path: r.split for r in before.records() if r.path not in bad}
    assert {r.path for r in data.image_records() if r.split == "skipped"} == bad
    note = data.found.notes()[-1]
    assert note.startswith(f"{len(bad)} of 60 images cannot be read: ")
    assert all(path in note for path in bad)
    for split in ("train", "val", "test"):
        assert sum(len(labels) for _, labels in getattr(data, f"{split}_dataloader")()) > 0


def test_another_word_than_error_or_skip_is_refused(root):
    with pytest.raises(UserError, match="on_bad_image is 'ignore', allowed are error, skip"):
        folder(root, on_bad_image="ignore")


def test_an_image_that_goes_bad_later_has_another_stand_in(root, capsys):
    data = folder(root, on_bad_image="skip")
    images = data.val_dataloader().dataset
    expected = images[1]
    (path, _), _, *_ = images.files
    (root / path).write_bytes(b"no image")
    for _ in range(2):
        image, label = images[0]
        assert torch.equal(image, expected[0])
        assert label == expected[1]
    assert (
        capsys.readouterr().err == f"note: {path} cannot be read, another image stands in for it\n"
    )


def test_a_split_of_bad_images_ends_in_a_line(root):
    images = folder(root, on_bad_image="skip").val_dataloader().dataset
    for path, _ in images.files:
        (root / path).write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be read as an image"):
        images[0]


def test_the_records_and_the_digest_are_those_of_every_image(root):
    data = folder(root)
    records = data.image_records()
    assert sorted(record.path for record in records) == sorted(
        f"{name}/{number}.png" for name in ("cat", "dog") for number in range(30)
    )
    assert all(record.label == record.path.startswith("dog") for record in records)
    digest = data_digest(records)
    assert digest == data_digest(folder(root).image_records())
    assert digest != data_digest(folder(root, split_seed=1).image_records())
    shutil.copytree(root, root.parent / "elsewhere")
    assert digest == data_digest(folder(root.parent / "elsewhere").image_records())
    (root / "cat" / "3.png").rename(root / "cat" / "zz.png")
    assert digest != data_digest(folder(root).image_records())


def test_a_copy_of_a_test_image_is_not_trained_on(root):
    shutil.copytree(root, root.parent / "parts" / "train")
    for name in ("cat", "dog"):
        (root.parent / "parts" / "test" / name).mkdir(parents=True)
    shutil.copy(root / "cat" / "3.png", root.parent / "parts" / "test" / "dog" / "x.png")
    write(root.parent / "parts" / "test" / "cat" / "y.png", 999)
    data = folder(root.parent / "parts")
    every = {split: [r.path for r in rs] for split, rs in data.found.dealt.records.items()}
    assert sorted(every["test"]) == ["test/cat/y.png", "test/dog/x.png"]
    assert all("train/cat/3.png" not in paths for paths in every.values())
    (copy,) = [record for record in data.image_records() if record.split == "copy"]
    assert copy.path == "train/cat/3.png"
    assert "1 left out, since val or test has their copy" in data.found.notes()


# A run that goes on


@pytest.fixture
def before(root):
    return folder(root).image_records()


def continued(root, before, **settings):
    data = folder(root, **settings)
    data.continue_with(before)
    return data


def test_a_run_that_goes_on_keeps_its_images_and_their_order_whatever_their_names(root, before):
    order = [r.digest for r in folder(root).found.dealt.records["weights"]]
    for number in range(10):
        write(root / "dog" / f"new{number}.png", 500 + number)
    (root / "cat" / "3.png").rename(root / "cat" / "zz.png")
    found = continued(root, before).found
    assert [r.digest for r in found.dealt.records["weights"]] == order
    used = {split: {r.digest for r in rs} for split, rs in found.dealt.records.items()}
    assert used == {split: {r.digest for r in before if r.split == split} for split in used}
    assert "10 new left out, as the run goes on with those it had" in found.notes()


@pytest.mark.parametrize("split", ["weights", "reward"])
@pytest.mark.parametrize("spoil", [truncate, lambda path: path.unlink()])
def test_a_run_goes_on_after_the_remedy_that_the_line_names(root, before, spoil, split):
    number = len(trained(folder(root)))
    lost = next(r for r in before if r.split == split).path
    whole = (root / lost).read_bytes()
    spoil(root / lost)
    line = refused(continued(root, before))
    assert lost in line
    assert "--data.on_bad_image skip" in line
    data = continued(root, before, on_bad_image="skip")
    assert len(trained(data)) == number
    assert lost in data.found.notes()[-1]
    images = data.train_dataloader().dataset
    assert all(image.shape == (3, 8, 8) for image, _ in images)
    (root / lost).write_bytes(whole)
    repaired = continued(root, before)
    assert sorted(trained(repaired)) == sorted(trained(folder(root)))
    assert repaired.found.notes() == folder(root).found.notes()


def test_a_lost_validation_image_is_left_out_when_asked_for(root, before):
    lost = [r.path for r in before if r.split == "val"]
    truncate(root / lost[0])
    assert lost[0] in refused(continued(root, before))
    data = continued(root, before, on_bad_image="skip")
    assert len(data.found.files("val")) == len(lost) - 1
