"""Records of a run's data: written whole, read as they were, and compared by content."""

import dataclasses
import gzip
import json

import pytest

from supernet.data.records import ImageRecord
from supernet.errors import UserError
from supernet.run.data_record import (
    DataChange,
    DataRecord,
    check_classes,
    read_record,
    record_file,
    write_record,
)

CLASSES = ("cat", "dog")
IMAGES = [
    ImageRecord("cat/0.png", 0, "weights", "a"),
    ImageRecord("cat/1.png", 0, "test", "b"),
    ImageRecord("dog/0.png", 1, "reward", "c"),
    ImageRecord("dog/copy.png", 1, "reward", "c"),
    ImageRecord("dog/1.png", 1, "val", "d", "boxes of d"),
    ImageRecord("dog/bad.png", -1, "skipped", ""),
]
RECORD = DataRecord(CLASSES, IMAGES, ("x", "y"))


def changed(images, classes=CLASSES):
    return DataChange.between(RECORD, DataRecord(classes, images))


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(tmp_path, RECORD)
    assert read_record([tmp_path / "other", tmp_path], RECORD.digest) == RECORD
    assert read_record([tmp_path], "another") is None
    before = record_file(tmp_path, RECORD.digest).read_bytes()
    write_record(tmp_path, RECORD)
    assert record_file(tmp_path, RECORD.digest).read_bytes() == before


def test_what_was_trained_on_is_told_by_content(tmp_path):
    assert RECORD.trained == {"a", "c", "x", "y"}
    assert RECORD.contents("val") == {"d"}
    assert RECORD.contents() == {"a", "b", "c", "d"}


def damaged(fields):
    return gzip.compress(json.dumps(fields).encode(), mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no json", mtime=0),
        damaged([]),
        damaged({"classes": [], "images": [[1]], "earlier": []}),
        damaged({"classes": ["cat"], "images": [["a", 0, "test", "b"]], "earlier": []}),
        damaged({"classes": 3, "images": None, "earlier": []}),
        gzip.compress(b"[]" * 100, mtime=0)[:-12],
    ],
)
def test_a_changed_record_is_named(tmp_path, content):
    write_record(tmp_path, RECORD)
    path = record_file(tmp_path, RECORD.digest)
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not as it was written") as error:
        read_record([tmp_path], RECORD.digest)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_that_is_moved_in_a_record_is_noticed(tmp_path):
    write_record(tmp_path, RECORD)
    path = record_file(tmp_path, RECORD.digest)
    fields = json.loads(gzip.decompress(path.read_bytes()))
    fields["images"][0][2] = "test"
    path.write_bytes(damaged(fields))
    with pytest.raises(UserError, match="its content has changed"):
        read_record([tmp_path], RECORD.digest)


def test_equal_data_have_not_changed():
    assert str(changed(IMAGES[::-1])) == ""


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([*IMAGES, ImageRecord("cat/9.png", 0, "test", "z")], "1 added"),
        ([ImageRecord("cat/0.png", 0, "weights", "a", "boxes"), *IMAGES[1:]], "1 with other boxes"),
        ([dataclasses.replace(image, boxes="") for image in IMAGES], ""),
        (IMAGES[1:], "1 removed"),
        ([ImageRecord("cat/z.png", 0, "weights", "a"), *IMAGES[1:]], "1 renamed"),
        ([ImageRecord("cat/0.png", 1, "weights", "a"), *IMAGES[1:]], "1 relabelled"),
        ([ImageRecord("dog/0.png", 1, "weights", "a"), *IMAGES[1:]], "1 relabelled, 1 renamed"),
        ([ImageRecord("cat/0.png", 0, "test", "a"), *IMAGES[1:]], "1 in another split"),
        ([ImageRecord("cat/0.png", 0, "weights", "new"), *IMAGES[1:]], "1 added, 1 removed"),
        (
            [
                ImageRecord("cat/z.png", 0, "weights", "a"),
                ImageRecord("new", 1, "val", "n"),
                *IMAGES[2:],
            ],
            "1 added, 1 removed, 1 renamed",
        ),
    ],
)
def test_changes_are_counted(images, words):
    assert str(changed(images)) == words


def test_labels_are_compared_by_the_names_of_their_classes():
    shifted = [
        ImageRecord(one.path, one.label + (one.label >= 0), one.split, one.digest) for one in IMAGES
    ]
    assert str(changed(shifted, ("ant", "cat", "dog"))) == ""
    assert str(changed(IMAGES, ("dog", "cat"))) == "5 relabelled"


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (("bird", "cat", "dog"), "the class 'bird', which it was not trained on"),
        (("cat",), "no class 'dog', which it was"),
        (("cat", "cow"), "the class 'cow', which it was not trained on and no class 'dog'"),
        (("dog", "cat"), "the same classes in another order"),
        (("0", "1", "2"), "the class '0'"),
    ],
)
def test_other_classes_are_refused_by_name(now, words):
    with pytest.raises(UserError, match=words):
        check_classes(CLASSES, now)


def test_classes_without_names_are_compared_by_their_number():
    check_classes(CLASSES, CLASSES)
    check_classes(CLASSES, ("0", "1"))
    check_classes(("0", "1"), CLASSES)
