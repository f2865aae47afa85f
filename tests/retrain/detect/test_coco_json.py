"""COCO's json: what it tells, and every fault of it in one line."""

import json

import pytest

from retrain.detect.coco_json import read_coco
from supernet.errors import UserError
from tests.helpers.coco import GAP, instances

IMAGES = [("a.jpg", 40, 30), ("sub/b.jpg", 20, 50)]
BOXES = [(100, 1, [1, 2, 3.5, 4]), (100, 10, [0, 0, 40, 30]), (101, 3, [5, 5, 10, 10])]


@pytest.fixture
def read(tmp_path):
    def read(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "instances.json").write_text(text)
        return read_coco(tmp_path / "instances.json")

    return read


def test_boxes_are_corners_and_labels_count_classes_by_their_numbers(read):
    found = read(instances(IMAGES, BOXES))
    assert found.classes == tuple(f"digit {number}" for number in range(10))
    first, second = found.images
    assert (first.path, first.width, first.height) == ("a.jpg", 40, 30)
    assert first.boxes == ((1, 2, 4.5, 6), (0, 0, 40, 30))
    assert (first.labels, second.labels, second.path) == ((1, 10), (3,), "sub/b.jpg")
    assert (found.bad_boxes, found.num_boxes, found.num_crowds) == ((), 3, 0)


def test_roundings_are_cut_off_and_crowds_left_out(read):
    content = instances(IMAGES, [*BOXES, (101, 1, [-0.4, 3, 20.9, 46.5])])
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][0]["bbox"] = [0, 0, 0, 0]
    found = read(content)
    assert found.images[1].boxes[1] == (0, 3, 20, 49.5)
    assert (found.num_crowds, found.num_boxes) == (1, 3)


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 0, 4],
        [1, 2, 3, -4],
        [1, 2, 0.009, 4],
        [30, 2, 11.1, 4],
        [-1.5, 2, 3, 4],
        [1, 2, 3],
        [1, 2, float("nan"), 4],
        [1, 2, "3", 4],
        [True, 2, 3, 4],
        None,
    ],
)
def test_boxes_that_describe_nothing_are_named(read, box):
    found = read(instances(IMAGES, [(100, 1, box), *BOXES]))
    (bad,) = found.bad_boxes
    assert bad.startswith("annotation 1, ")
    assert bad.endswith(" in a.jpg of 40x30 px")
    assert (found.num_boxes, len(found.images[0].boxes)) == (4, 2)


def changed(part, place, **fields):
    content = instances(IMAGES, BOXES)
    content[part][place] |= fields
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ("[]", r"the content is \[\], it must be a JSON object"),
        ({}, "categories is None, it must be a list of objects"),
        ({**instances(IMAGES, BOXES), "categories": []}, "categories is empty"),
        ({**instances(IMAGES, BOXES), "images": []}, "images is empty"),
        ({**instances(IMAGES, BOXES), "annotations": [3]}, r"annotations is \[3\], it must be a"),
        (changed("categories", 0, id=GAP), "a category is .*, it must have an id of its own"),
        (changed("categories", 0, name="digit 1"), "two categories have the name 'digit 1'"),
        (changed("images", 0, width=0), "image 'a.jpg' has the id 100 of another, or no size"),
        (changed("images", 0, id=101), "image 'sub/b.jpg' has the id 101 of another"),
        (changed("images", 0, height="30"), "an image is .*, it must have id, file_name, width"),
        (changed("images", 0, file_name="../a.jpg"), "image 100 has the file_name '../a.jpg'"),
        (changed("images", 0, file_name="/a.jpg"), "image 100 has the file_name '/a.jpg'"),
        (changed("images", 0, file_name="sub/b.jpg"), "two images have one file_name"),
        (changed("annotations", 1, image_id=7), "annotation 2 has the image_id 7, which is none"),
        (changed("annotations", 2, category_id=8), "annotation 3 has the category_id 8, which"),
        (changed("annotations", 0, image_id=[7]), "annotation 1 is .*, it must have image_id"),
    ],
)
def test_faults_are_one_line(read, content, reason):
    with pytest.raises(
        UserError, match=rf"instances.json is no file of COCO's.*: {reason}"
    ) as said:
        read(content)
    assert "\n" not in str(said.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*gone.json: No such file .* name COCO's"):
        read_coco(tmp_path / "gone.json")
