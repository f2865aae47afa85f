"""The index of images: what it finds, what it keeps, and when it reads anew."""

import gzip
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supernet.data.images import image_index, index_cache
from supernet.data.images.image_index import index_images, relative_to
from supernet.data.images.image_reading import ImageReader


def write(path, seed=0, size=(12, 9)):
    pixels = np.random.default_rng(seed).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Paths that were decoded, in a cache of the test's own that keeps files of any age."""
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index_cache, "SETTLED_S", -1e6)
    read, look = [], image_index._look
    monkeypatch.setattr(
        image_index,
        "_look",
        lambda root, path, reader: (read.append(path), look(root, path, reader))[1],
    )
    return read


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write(tmp_path / "images" / "cat" / f"{number}.png", number, (12 + number, 9))
    return tmp_path / "images"


READER = ImageReader()
PATHS = ["cat/0.png", "cat/1.png", "cat/2.png"]


def test_each_file_has_its_content_its_size_and_its_brightness(root):
    Image.new("L", (5, 7), 51).save(root / "cat" / "grey.png")
    found = index_images(root, [*PATHS, "cat/grey.png"], READER)
    content = (root / "cat" / "1.png").read_bytes()
    assert [one.path for one in found] == [*PATHS, "cat/grey.png"]
    assert found[1].digest == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert found[1].num_bytes == len(content)
    assert [(one.width, one.height) for one in found] == [(12, 9), (13, 9), (14, 9), (5, 7)]
    assert found[3].brightness == pytest.approx(0.2)
    assert (found[3].contrast, found[3].num_frames, found[3].error) == (0, 1, "")
    assert found[0].contrast > 0.1


def test_what_cannot_be_read_says_why_and_the_others_are_found(root):
    (root / "cat" / "0.png").write_bytes(b"no image")
    whole = (root / "cat" / "1.png").read_bytes()
    (root / "cat" / "1.png").write_bytes(whole[:100])
    found = index_images(root, [*PATHS, "cat/gone.png", "cat"], READER)
    assert found[0].error.startswith("cannot identify image file")
    assert "truncated" in found[1].error
    assert found[2].error == ""
    assert found[3].error == "No such file or directory"
    assert found[4].error
    assert not any(str(root) in one.error for one in found)


def test_a_file_that_is_no_image_is_found_by_its_content_alone(root):
    (root / "numbers.npy").write_bytes(b"123")
    (found,) = index_images(root, ["numbers.npy"])
    assert found.digest == hashlib.blake2b(b"123", digest_size=16).hexdigest()
    assert (found.num_bytes, found.error) == (3, "")


def test_an_animation_is_told_from_an_image(root):
    frames = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in (0, 100, 200)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    assert index_images(root, ["moving.gif"], READER)[0].num_frames == 2


def test_a_second_run_reads_only_what_is_new_or_changed(root, read):
    first = index_images(root, PATHS, READER)
    assert sorted(read) == PATHS
    read.clear()
    assert index_images(root, PATHS, READER) == first
    assert read == []
    write(root / "cat" / "1.png", 7)
    write(root / "cat" / "3.png", 8)
    again = index_images(root, [*PATHS, "cat/3.png"], READER)
    assert sorted(read) == ["cat/1.png", "cat/3.png"]
    assert again[0] == first[0]
    assert again[1].digest != first[1].digest


def test_files_that_change_places_are_read_anew_though_size_and_time_are_equal(root, read):
    (root / "cat" / "0.png").write_bytes(b"a" * 50)
    (root / "cat" / "1.png").write_bytes(b"b" * 50)
    paths = ["cat/0.png", "cat/1.png"]
    for path in paths:
        os.utime(root / path, ns=(10**18, 10**18))
    first = index_images(root, paths)
    (root / "cat" / "0.png").rename(root / "held")
    (root / "cat" / "1.png").rename(root / "cat" / "0.png")
    (root / "held").rename(root / "cat" / "1.png")
    second = index_images(root, paths)
    assert [one.digest for one in second] == [one.digest for one in reversed(first)]


def test_another_reader_reads_anew(root, read):
    index_images(root, PATHS, READER)
    index_images(root, PATHS, ImageReader(background=(0, 0, 0)))
    index_images(root, PATHS)
    assert len(read) == 9


def test_a_bad_file_is_looked_at_again(root, read):
    (root / "cat" / "0.png").write_bytes(b"no image")
    index_images(root, PATHS, READER)
    read.clear()
    assert index_images(root, PATHS, READER)[0].error
    assert read == ["cat/0.png"]


def test_a_file_that_has_just_changed_is_not_kept(root, read, monkeypatch):
    monkeypatch.setattr(index_cache, "SETTLED_S", 1000.0)
    index_images(root, PATHS, READER)
    index_images(root, PATHS, READER)
    assert len(read) == 6


def kept(tmp_path):
    (path,) = (tmp_path / "cache" / "images").iterdir()
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b no gzip",
        gzip.compress(b"no json", mtime=0),
        gzip.compress(b"[" * 10_000, mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b'{"images": {}}', mtime=0),
    ],
)
def test_a_damaged_cache_is_passed_over(root, read, tmp_path, content):
    first = index_images(root, PATHS, READER)
    kept(tmp_path).write_bytes(content)
    read.clear()
    assert index_images(root, PATHS, READER) == first
    assert len(read) == 3


def test_kept_facts_of_other_types_or_another_pillow_are_passed_over(root, read, tmp_path):
    first = index_images(root, PATHS, READER)
    content = json.loads(gzip.decompress(kept(tmp_path).read_bytes()))
    content["images"]["cat/0.png"][5] = 17
    content["images"]["cat/1.png"] = None
    kept(tmp_path).write_bytes(gzip.compress(json.dumps(content).encode()))
    read.clear()
    assert index_images(root, PATHS, READER) == first
    assert sorted(read) == ["cat/0.png", "cat/1.png"]
    content["pillow"] = "1.0"
    kept(tmp_path).write_bytes(gzip.compress(json.dumps(content).encode()))
    read.clear()
    assert index_images(root, PATHS, READER) == first
    assert len(read) == 3


def test_a_cache_that_cannot_be_written_costs_time_only(root, read, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file in the way")
    first = index_images(root, PATHS, READER)
    assert len(first) == 3
    assert capsys.readouterr().err.startswith("note: the images will be read anew by the next run")
    assert index_images(root, PATHS, READER) == first


def test_an_interrupted_pass_keeps_what_it_has_found(root, read, monkeypatch):
    monkeypatch.setattr(image_index, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(image_index, "num_cores", lambda: 1)
    look = image_index._look

    def interrupted(folder, path, reader):
        if path == "cat/2.png":
            raise KeyboardInterrupt
        return look(folder, path, reader)

    with monkeypatch.context() as patch:
        patch.setattr(image_index, "_look", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index_images(root, PATHS, READER)
    read.clear()
    assert len(index_images(root, PATHS, READER)) == 3
    assert read == ["cat/2.png"]


def test_a_root_is_the_same_by_any_name(root, read, monkeypatch):
    index_images(root, PATHS, READER)
    monkeypatch.chdir(root.parent)
    (root.parent / "link").symlink_to(root)
    for name in (Path("images"), root.parent / "link"):
        index_images(name, PATHS, READER)
    assert len(read) == 3


def test_an_image_that_does_not_fit_into_memory_is_bad(root, monkeypatch):
    def read(reader, path):
        if path.endswith("1.png"):
            raise MemoryError
        return Image.new("RGB", (2, 2))

    monkeypatch.setattr(ImageReader, "read", read)
    errors = [one.error for one in index_images(root, PATHS, READER)]
    assert errors == ["", "too large for the memory", ""]


@pytest.mark.parametrize("root", [".", "images", "../images/", "/", "/images"])
def test_paths_are_relative_to_any_form_of_the_root(root):
    assert relative_to(str(Path(root) / "cat" / "0.png"), Path(root)) == "cat/0.png"
