"""The picture set of icon themes: what is taken, and that no icon stands in two splits."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from benchmarks.icons import LEAST, make_folder
from supernet.data.image_folder import ImageFolder
from supernet.errors import UserError

NAMES = [f"{word}-{level}-symbolic" for word in "abcdefghijklmnop" for level in (10, 20)]


@pytest.fixture(scope="module")
def themes(tmp_path_factory):
    """Two themes of as many names of two kinds, in three sizes, and what is to be left out."""
    root, rng = tmp_path_factory.mktemp("icons"), np.random.default_rng(0)

    def draw(place, side, name):
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (side, side), tuple(rng.integers(256, size=4).tolist())).save(path)

    for theme in ("Adwaita", "oxygen/base"):
        for kind in ("actions", "places"):
            for side in (16, 48, 64, 256):
                for name in NAMES:
                    draw(f"{theme}/{side}x{side}/{kind}", side, f"{kind[0]}{name}.png")
    for number in range(LEAST - 1):
        draw("Adwaita/48x48/emotes", 48, f"face-{chr(97 + number)}.png")
    draw("Adwaita/48x48/legacy", 48, "old.png")
    (root / "Adwaita/64x64/places/broken.png").write_bytes(b"none")
    (root / "Adwaita/64x64/places/same.png").symlink_to("pa-10-symbolic.png")
    return root


def test_the_largest_picture_of_each_icon_is_written_in_turn_in_every_format(
    themes, tmp_path, capsys
):
    folder = tmp_path / "set"
    make_folder(folder, themes, seed=0)
    files = list(folder.glob("*/*/*"))
    assert len(files) == 2 * 2 * len(NAMES)
    assert set(Counter(path.suffix for path in files).values()) == {len(files) // 4}
    for path in files:
        with Image.open(path) as picture:
            assert picture.size == (64, 64)
    printed = capsys.readouterr().out
    assert f"emotes is left out: it has {LEAST - 1} name(s), fewer than {LEAST}" in printed
    assert "128 icons of 2 kinds, of Adwaita, oxygen; apt install gnome-icon-theme mate-" in printed
    data = ImageFolder(str(folder), resolution=8, num_workers=0)
    assert data.classes == ("actions", "places")
    assert Counter(one.split for one in data.image_records())["test"] == 2 * 5 * 4
    with pytest.raises(UserError, match="is there already"):
        make_folder(folder, themes, seed=0)


def test_all_pictures_of_a_name_stand_in_one_split_and_another_seed_deals_otherwise(
    themes, tmp_path
):
    splits = []
    for seed in (0, 1):
        make_folder(tmp_path / str(seed), themes, seed)
        where = defaultdict(set)
        for path in (tmp_path / str(seed)).glob("*/*/*"):
            name = re.sub(r"^\w+-|\d+", "", path.stem)
            where[name].add(path.parts[-3])
        assert all(len(found) == 1 for found in where.values())
        assert len(where) == 2 * len(NAMES) / 2
        splits.append(where)
    assert splits[0] != splits[1]


def test_a_machine_without_icons_is_told_in_one_line(tmp_path):
    (tmp_path / "icons").mkdir()
    with pytest.raises(UserError, match=r"holds icons of 0 kind.* apt install adwaita-icon-theme"):
        make_folder(tmp_path / "set", tmp_path / "icons", seed=0)
