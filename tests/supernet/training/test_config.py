"""Configs: names of spaces in them, and a resolution that is not another class's silently."""

import pytest
from jsonargparse import Namespace

from supernet.errors import UserError
from supernet.files.shipped import config_file
from supernet.training.config import check_resolution, with_shipped_space

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


def test_the_name_of_a_shipped_space_becomes_its_file_and_nothing_else_changes(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = "run: 1e-3\nmodel: {target: p4, space: NAME, cost: ms}  # mine\n"
    named = with_shipped_space(text.replace("NAME", "spaces/paper"))
    assert named == text.replace("NAME", f'"{config_file("spaces/paper")}"')
    (tmp_path / "own.yaml").touch()
    others = ("{width: 0.5}", "null", "~", "[a]", "own.yaml")
    for kept in ["run: [", "a text", "", *(text.replace("NAME", one) for one in others)]:
        assert with_shipped_space(kept) == kept.replace("own.yaml", '"own.yaml"')
