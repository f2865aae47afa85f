"""A resolution that a config gives the data of one class is not another's without a word."""

import pytest
from jsonargparse import Namespace

from supernet.errors import UserError
from supernet.training.config import check_resolution

DIGITS = "data: {class_path: Digits, init_args: {resolution: 16}}"
PHOTOS = Namespace(class_path="supernet.data.image_folder.ImageFolder")


@pytest.fixture
def files(tmp_path):
    """Write configs; their paths."""

    def write(*texts):
        paths = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return paths

    return write


def test_it_is_refused_by_its_value_its_config_and_both_classes(files):
    told = "is 16, which .*0.yaml gives to Digits, but the data are ImageFolder: .*configs/photos"
    for later in ("run: x", "data: {class_path: ImageFolder, init_args: {root: x}}"):
        with pytest.raises(UserError, match=told):
            check_resolution(PHOTOS, files(DIGITS, later), ["--data", "ImageFolder"])
    with pytest.raises(UserError, match=r"the data are CocoBoxes: .*resolution 96$"):
        check_resolution(Namespace(class_path="CocoBoxes"), files(DIGITS), [])


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["data:", "[]"],
        ["data: {init_args: {resolution: 16}}"],
        [DIGITS, "data: {class_path: ImageFolder, init_args: {resolution: 64}}"],
        ["data: {class_path: supernet.data.ImageFolder, init_args: {resolution: 16}}"],
        ["data: {class_path: Digits, init_args: {batch_size: 4}}"],
    ],
)
def test_it_stands_where_it_was_meant(files, texts):
    check_resolution(PHOTOS, files(*texts), [])


@pytest.mark.parametrize("word", ["--data.resolution", "--data.init_args.resolution=16"])
def test_it_stands_where_the_command_line_says_one(files, word):
    check_resolution(PHOTOS, files(DIGITS), [word, "16"])
