"""The command check-data: what it prints of a folder, how it ends, and its page of samples."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from supernet.__main__ import main
from supernet.data.image_folder import ImageFolder
from supernet.data.resumable import SeededDataset
from supernet.display.augmented_page import augmentation_of, draw_augmented
from supernet.training.augmentation import Augmentation


def write(path, low, seed, size=(24, 18)):
    pixels = np.random.default_rng(seed).integers(low, low + 90, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    """A dark class of 30 images and a bright one of 10, of which one is larger."""
    for number in range(30):
        write(tmp_path / "images" / "dark" / f"{number}.png", 0, number)
    for number in range(10):
        size = (40, 30) if number == 0 else (24, 18)
        write(tmp_path / "images" / "light" / f"{number}.png", 160, 100 + number, size)
    return tmp_path / "images"


@pytest.fixture
def checked(capsys, monkeypatch, tmp_path):
    """Status, output and error of the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = 0
        try:
            main(["check-data", *map(str, arguments)])
        except SystemExit as leaving:
            status = leaving.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def values(checked):
    def run(*arguments):
        status, out, err = checked(*arguments, "--json")
        return json.loads(out) | {"status": status, "line": err}

    return run


def test_numbers_are_those_of_the_folder_and_of_a_run(root, values):
    found = values(root)
    dark, light = found["classes"]
    assert (dark["name"], dark["images"], light["name"], light["images"]) == (
        "dark",
        30,
        "light",
        10,
    )
    assert (found["images"], found["status"], found["line"]) == (40, 0, "")
    assert found["bytes"] == sum(path.stat().st_size for path in root.glob("*/*"))
    assert found["imbalance"] == 3
    assert (found["majority_class"], found["majority_share"]["all"]) == ("dark", 0.75)
    assert (found["smallest_px"], found["largest_px"]) == ([24, 18], [40, 30])
    assert found["median_shorter_side_px"] == 18
    assert dark["brightness"] == pytest.approx(44.5 / 255, abs=0.01)
    assert light["brightness"] == pytest.approx(204.5 / 255, abs=0.01)
    assert found["brightness"] == pytest.approx((3 * 44.5 + 204.5) / 4 / 255, abs=0.01)
    assert found["darkest"][1].startswith("dark/")
    assert found["brightest"][1].startswith("light/")
    records = ImageFolder(str(root)).found.dealt.records
    for split, held in records.items():
        share = max(sum(r.label == label for r in held) for label in (0, 1)) / len(held)
        assert found["majority_share"][split] == share
        for label, row in enumerate(found["classes"]):
            assert row[split] == sum(record.label == label for record in held)


def test_another_seed_and_other_shares_deal_as_in_a_run(root, values):
    found = values(root, "--split_seed", 5, "--test_share", 0.5)
    records = ImageFolder(str(root), split_seed=5, test_share=0.5).found.dealt.records
    for split, held in records.items():
        assert sum(row[split] for row in found["classes"]) == len(held)


def test_all_bad_images_are_listed_with_reasons_and_the_status_is_2(root, checked, values):
    (root / "dark" / "3.png").write_bytes((root / "dark" / "3.png").read_bytes()[:200])
    (root / "light" / "5.png").write_bytes(b"no image")
    status, out, err = checked(root)
    assert status == 2
    assert "2 cannot be read:\n  dark/3.png: image file is truncated" in out
    assert "\n  light/5.png: cannot identify image file\n" in out
    assert err == (
        "error: 2 of 40 images cannot be read: repair or remove them, or train without them by"
        " --data.on_bad_image skip\n"
    )
    found = values(root)
    assert list(found["bad"]) == ["dark/3.png", "light/5.png"]
    assert [row["bad"] for row in found["classes"]] == [1, 1]


def test_a_folder_of_bad_images_only_is_reported(root, checked):
    for path in root.glob("*/*.png"):
        path.write_bytes(b"")
    status, out, err = checked(root)
    assert (status, out.count(".png: ")) == (2, 40)
    assert err == "error: 40 of 40 images cannot be read: repair or remove them\n"


def test_copies_and_images_of_one_colour_are_told(root, values, checked):
    shutil.copy(root / "dark" / "3.png", root / "light" / "copy.png")
    Image.new("RGB", (24, 18), (9, 9, 9)).save(root / "dark" / "black.png")
    found = values(root)
    assert found["copies"] == [["dark/3.png", "light/copy.png"]]
    assert found["copies_of_another_class"] == 1
    assert found["one_colour"] == ["dark/black.png"]
    out = checked(root)[1]
    assert "1 of one colour: dark/black.png\n" in out
    assert "1 with copies: dark/3.png = light/copy.png\n" in out
    assert "1 exact copies, 1 of another class\n" in out


def test_what_is_left_out_stands_in_the_first_line(root, checked):
    (root / "dark" / "notes.txt").write_text("")
    assert checked(root)[1].splitlines()[0].endswith(" MB; 1 .txt ignored")


def test_too_few_images_for_a_run_are_told_after_the_rest(root, checked):
    for path in root.glob("light/*.png"):
        if path.name != "0.png":
            path.unlink()
    for path in root.glob("dark/*.png"):
        if path.name not in {"0.png", "1.png"}:
            path.unlink()
    status, out, err = checked(root)
    assert status == 2
    assert "2 classes, 3 images" in out
    assert err.startswith("error: 3 different images are too few: ")


def test_of_many_classes_the_largest_and_the_smallest_are_shown(tmp_path, checked, monkeypatch):
    monkeypatch.setattr("supernet.display.data_report.ROWS", 4)
    for number in range(6):
        for image in range(4 + number):
            path = tmp_path / "many" / f"c{number}" / f"{image}.png"
            write(path, 0, 100 * number + image, (4, 4))
    rows = [line.split()[0] for line in checked(tmp_path / "many")[1].splitlines()[2:7]]
    assert rows == ["c5", "c4", "...", "c1", "c0"]


def test_the_page_has_a_row_of_images_for_each_class(root, checked, tmp_path):
    out = checked(root)[1]
    assert out.splitlines()[-1] == "samples: images-samples.png"
    with Image.open(tmp_path / "images-samples.png") as page:
        small = np.asarray(page.convert("L").resize((page.width // 8, page.height // 8)), float)
    columns = small[:, -60:-4]
    rows = [row for row in columns if row.min() < 230]
    assert min(row.mean() for row in rows) < 60  # the dark class
    assert any(190 < row.mean() < 215 for row in rows)  # the light one
    assert checked(root, "--page", tmp_path / "other.png")[0] == 0
    assert (tmp_path / "other.png").exists()
    status, _, err = checked(root, "--page", tmp_path / "other.jpg")
    assert (status, "must end in .png" in err) == (2, True)


def test_the_page_of_augmented_images_has_mixed_ones_where_they_are_mixed(root, checked, tmp_path):
    widths = {}
    for preset in ("light", "strong"):
        page = tmp_path / f"{preset}.png"
        arguments = (root, "--augmentation", preset, "--resolution", 16, "--page", page)
        status, out, _ = checked(*arguments)
        drawn = tmp_path / f"{preset}-augmented.png"
        assert (status, out.splitlines()[-1]) == (0, f"augmented samples: {drawn}")
        with Image.open(drawn) as image:
            widths[preset] = image.width
            small = np.asarray(image.convert("L"), float)
        rows = small[small.shape[0] // 3 :, 400:520]
        assert rows.min() < 60  # the dark class
    assert widths["strong"] - widths["light"] == pytest.approx(2 * 120, abs=2)


def test_what_a_config_sets_is_drawn(root, checked, tmp_path):
    config = tmp_path / "retrain.yaml"
    config.write_text(
        "data: {class_path: Digits}\ntrainer: {max_epochs: 1}\n"
        "model: {recipe: {augmentation: {rotation: 90}}}\n"
    )
    out = checked(root, "--augmentation", config, "--resolution", 16)[1]
    assert out.splitlines()[-1] == "augmented samples: images-augmented.png"


def test_a_config_of_image_folders_is_drawn_as_it_reads_them(root, tmp_path):
    config = tmp_path / "retrain.yaml"
    config.write_text(
        "data: {class_path: ImageFolder, init_args: {resolution: 24, crop_area: 0.9, flip: 0}}\n"
        "trainer: {max_epochs: 1}\nmodel: {recipe: {augmentation: {rotation: 90}}}\n"
    )
    augmentation, arguments = augmentation_of(str(config), root)
    assert augmentation.active == {"rotation": 90.0}
    assert (arguments["resolution"], arguments["crop_area"], arguments["flip"]) == (24, 0.9, 0.0)
    preset, none = augmentation_of("light", root)
    assert (preset.preset, none) == ("light", {})


def test_classes_of_a_column_are_drawn_apart(root, monkeypatch):
    """As in a training, where each image has a seed of its own."""
    seen = []
    take = SeededDataset.__getitems__

    def watch(dataset, pairs):
        seen.append([seed for _, seed in pairs])
        return take(dataset, pairs)

    monkeypatch.setattr(SeededDataset, "__getitems__", watch)
    data = ImageFolder(str(root), resolution=8, num_workers=0)
    draw_augmented(data, Augmentation())
    seeds = [seed for column in seen for seed in column]
    assert len(set(seeds)) == len(seeds) == 6 * len(data.classes)


def test_a_name_that_is_no_text_is_printed(root, checked):
    (root / "dark" / os.fsdecode(b"\xff\n.png")).write_bytes(b"no image")
    status, out, err = checked(root)
    assert status == 2
    assert "\n  dark/\\udcff .png: cannot identify" in out
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "/nowhere is not a folder"),
        (["ROOT", "--test_share", "0.9"], "must be above 0 and leave training images"),
        (["ROOT", "--background", "0", "0", "300"], "background"),
        (["ROOT", "--augmentation", "heavy"], "give none, light, strong or the yaml file"),
        ([], "the following arguments are required: DIR"),
    ],
)
def test_what_cannot_be_is_one_line(root, checked, arguments, said):
    status, out, err = checked(*[root if one == "ROOT" else one for one in arguments])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
