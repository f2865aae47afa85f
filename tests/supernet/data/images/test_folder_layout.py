"""Layouts of folders: which are read as splits, which as classes, which are refused in one line."""

import os
import unicodedata
from pathlib import Path

import pytest

from supernet.data.images.folder_layout import read_layout
from supernet.errors import UserError


def fill(root, *folders, number=2, suffix=".png"):
    """Files in folders; nothing opens them to read a layout."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            (root / folder / f"{index}{suffix}").write_bytes(b"")


def fill_splits(root, *names):
    fill(root, *(f"{name}/{kind}" for name in names for kind in ("cat", "dog")))


def sizes(layout):
    return {split: len(files) for split, files in layout.files.items()}


def refused(root):
    with pytest.raises(UserError) as error:
        read_layout(root)
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "eval", "Valid"])
@pytest.mark.parametrize("test", ["test", "testing", "TEST"])
def test_splits_are_known_by_their_usual_names(tmp_path, val, test):
    fill_splits(tmp_path, "train", val, test)
    layout = read_layout(tmp_path)
    assert layout.classes == ("cat", "dog")
    assert sizes(layout) == {"train": 4, "val": 4, "test": 4}
    assert all(path.split("/")[-3] == test for path, _ in layout.files["test"])
    assert [label for _, label in layout.files["val"]] == [0, 0, 1, 1]


def test_splits_may_lie_beside_files_and_hidden_things(tmp_path):
    fill_splits(tmp_path, "train", "valid")
    fill(tmp_path, ".git/cat", "__MACOSX/train", ".ipynb_checkpoints")
    for name in ("README.dataset.txt", "data.yaml", "Thumbs.db", "._train", "cover.png"):
        (tmp_path / name).write_text("")
    layout = read_layout(tmp_path)
    assert sizes(layout) == {"train": 4, "val": 4}
    assert layout.left_out == {"hidden": 5, "outside class folders": 3}


def test_training_and_testing_are_splits_and_a_class_may_be_called_training(tmp_path):
    fill_splits(tmp_path / "digits", "training", "testing")
    assert sizes(read_layout(tmp_path / "digits")) == {"train": 4, "test": 4}
    fill(tmp_path / "dogs", "racing", "training")
    assert read_layout(tmp_path / "dogs").classes == ("racing", "training")


def test_hidden_things_are_passed_over_at_every_depth(tmp_path):
    fill(tmp_path, "cat", "dog/2026/may")
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".cache", "@eaDir"):
        fill(tmp_path, f"cat/{hidden}", f"dog/2026/may/{hidden}")
    for name in ("._0.png", ".0.png"):
        (tmp_path / "cat" / name).write_bytes(b"")
    (tmp_path / "dog" / "2026" / "Thumbs.db").write_bytes(b"")
    layout = read_layout(tmp_path)
    assert sizes(layout) == {"train": 4}
    assert layout.left_out == {"hidden": 11}


def test_what_is_left_out_is_counted_by_its_reason(tmp_path):
    fill(tmp_path, "cat", "dog")
    fill(tmp_path, "cat", number=60, suffix=".heic")
    fill(tmp_path, "dog", number=3, suffix="")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "dog" / "self.png").symlink_to(tmp_path / "dog" / "self.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    layout = read_layout(tmp_path)
    assert layout.left_out_line == (
        "60 .heic, 3 without suffix, 2 broken links, 1 special files ignored"
    )
    assert sizes(layout) == {"train": 4}


def test_suffixes_that_pillow_decodes_are_read_in_any_case(tmp_path):
    fill(tmp_path, "cat", "dog")
    for suffix in (".GIF", ".jfif", ".Avif", ".JPG", ".webp", ".tiff", ".mpo"):
        fill(tmp_path, "cat", number=1, suffix=suffix)
    assert sizes(read_layout(tmp_path)) == {"train": 4 + 7}
    assert read_layout(tmp_path).left_out_line == ""


def test_a_folder_linked_into_itself_is_walked_once(tmp_path):
    fill(tmp_path / "images", "cat/more", "dog")
    for place, target in {
        "cat/self": "cat",
        "cat/more/up": ".",
        "dog/above": "..",
        "dog/other": "cat",
    }.items():
        (tmp_path / "images" / place).symlink_to(tmp_path / "images" / target)
    layout = read_layout(tmp_path / "images")
    assert sizes(layout) == {"train": 4}
    assert layout.left_out == {"linked folders that are read already": 4}


def test_linked_folders_outside_are_read_and_two_links_to_one_are_refused(tmp_path):
    fill(tmp_path, "a", "b/deep")
    (tmp_path / "images").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "images" / "cat").symlink_to(tmp_path / "a")
    (tmp_path / "images" / "dog").symlink_to(tmp_path / "b")
    assert sizes(read_layout(tmp_path / "images")) == {"train": 4}
    (tmp_path / "images" / "owl").symlink_to(tmp_path / "a")
    assert "owl and" in refused(tmp_path / "images")


@pytest.mark.parametrize("other", ["cat", "unlabelled", "annotations", "fold2"])
def test_train_beside_what_is_no_split_is_refused(tmp_path, other):
    fill_splits(tmp_path, "train", "val")
    (tmp_path / other).mkdir()
    line = refused(tmp_path)
    assert f"beside {other}, no split" in line
    assert f"move {other} away" in line


def test_train_is_never_a_class(tmp_path):
    fill(tmp_path / "flat", "train", "tram")
    assert "beside tram, no split" in refused(tmp_path / "flat")
    fill(tmp_path / "twice", "train/train/cat", "train/train/dog", "train/other/cat")
    assert "'train', which no class may be called" in refused(tmp_path / "twice")
    fill(tmp_path / "turned", "cat/train", "cat/test", "dog/train", "dog/test")
    assert "cat would be a class, but holds test, train" in refused(tmp_path / "turned")


@pytest.mark.parametrize("names", [("test", "val"), ("cat", "dog", "test"), ("cat", "valid")])
def test_splits_without_train_are_refused(tmp_path, names):
    fill(tmp_path, *names)
    line = refused(tmp_path)
    assert "but no folder train" in line
    assert "if it is a class" in line


def test_a_name_of_a_split_may_be_a_class_inside_train(tmp_path):
    fill(tmp_path, "train/valid", "train/invalid")
    assert read_layout(tmp_path).classes == ("invalid", "valid")


def test_two_folders_of_one_split_are_refused(tmp_path):
    fill_splits(tmp_path, "train", "val", "valid")
    assert "both val and valid, which name one split" in refused(tmp_path)


def test_class_folders_on_both_levels_are_refused(tmp_path):
    fill(tmp_path / "twice", "cat", "dog", "data/cat", "data/dog")
    assert "two levels, cat and data/cat" in refused(tmp_path / "twice")
    fill(tmp_path / "mixed", "cat", "dog", "birds/owl", "birds/jay")
    line = refused(tmp_path / "mixed")
    assert "birds only folders of images, such as jay, owl" in line
    fill(tmp_path / "split", "train/cat", "train/dog", "val/cat", "val/dog", "val/birds/owl")
    assert "train has no class folder birds" in refused(tmp_path / "split")


def test_images_of_a_class_may_lie_deeper(tmp_path):
    fill(tmp_path, "cat/may/1", "cat/june", "dog/images")
    assert sizes(read_layout(tmp_path)) == {"train": 6}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_class_that_one_split_lacks_is_named(tmp_path, split):
    fill(tmp_path, *(f"{name}/{kind}" for name in ("train", "val", "test") for kind in "abc"))
    for path in (tmp_path / split / "b").iterdir():
        path.unlink()
    assert f"{split}/b holds no images" in refused(tmp_path)
    (tmp_path / split / "b").rmdir()
    line = refused(tmp_path)
    assert f"{split} has no class folder b" in line
    assert "give all splits the same class folders" in line


def test_a_class_without_images_says_what_it_holds(tmp_path):
    fill(tmp_path, "cat", "dog")
    fill(tmp_path, "owl", suffix=".heic")
    assert "owl holds no images (.apng, .avif" in refused(tmp_path)
    assert "2 .heic ignored" in refused(tmp_path)


def test_a_folder_around_the_data_is_named(tmp_path):
    fill_splits(tmp_path / "dataset", "train", "val")
    line = refused(tmp_path)
    assert "holds 1 class folder(s)" in line
    assert f"give {tmp_path / 'dataset'} as the folder" in line


def test_a_split_of_unsorted_images_is_refused(tmp_path):
    fill_splits(tmp_path, "train")
    fill(tmp_path, "test")
    assert "test holds 0 class folder(s)" in refused(tmp_path)


def test_class_names_are_compared_however_their_accents_are_spelled(tmp_path):
    for form, split in {"NFC": "train", "NFD": "val"}.items():
        fill(tmp_path / split, unicodedata.normalize(form, "café"), "dog")
    assert read_layout(tmp_path).classes == ("café", "dog")
    assert sizes(read_layout(tmp_path)) == {"train": 4, "val": 4}


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", os.fsdecode(b"caf\xe9")])
def test_a_class_name_that_cannot_be_printed_is_refused(tmp_path, name):
    fill(tmp_path, name, "dog")
    refused(tmp_path).encode()


def test_a_root_that_is_hidden_or_below_home_is_read(tmp_path, monkeypatch):
    fill(tmp_path / ".data", "cat", "dog")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sizes(read_layout("~/.data")) == {"train": 4}


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    file = tmp_path / "images.zip"
    file.write_bytes(b"")
    assert f"{file} is not a folder" in refused(file)
    assert "is not a folder" in refused(Path("/nowhere"))
