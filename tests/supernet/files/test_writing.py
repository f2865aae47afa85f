"""Files that are written whole: what others lay in the way, and what a power cut finds."""

import os
import secrets
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.files.csv_table import CsvRows
from supernet.files.writing import (
    put_in_place,
    remove_temporaries,
    replacing,
    temporary_path,
    write_atomic,
)


def test_a_temporary_lies_beside_the_file_under_a_name_that_nobody_can_foresee(tmp_path):
    path = tmp_path / "arch.json"
    names = {temporary_path(path).name for _ in range(100)}
    assert len(names) == 100
    with replacing(path) as stream:
        stream.write(b"new")
        (found,) = tmp_path.iterdir()
        assert found.name.startswith(".arch.json.")
    assert path.read_bytes() == b"new"


def test_a_link_that_lies_under_the_name_of_a_temporary_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0123456789abcdef")
    precious = tmp_path / "precious"
    precious.write_bytes(b"kept")
    path = tmp_path / "arch.json"
    temporary_path(path).symlink_to(precious)
    with pytest.raises(UserError, match="File exists; nothing was lost"):
        write_atomic(path, b"new")
    assert precious.read_bytes() == b"kept"
    assert not path.exists()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    precious, path = tmp_path / "precious", tmp_path / "metrics.csv"
    precious.write_bytes(b"step,a\n0,1.0\n")
    path.symlink_to(precious)
    CsvRows(path).cut(-1)
    assert precious.read_bytes() == b"step,a\n0,1.0\n"
    assert not path.is_symlink()
    assert path.read_text().split() == ["step,a"]


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_writer_goes_on(
    tmp_path, monkeypatch
):
    path, seen = tmp_path / "file", []

    def note(descriptor):
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    write_atomic(path, b"content")
    (first, before), (second, after) = seen
    assert (first.parent, first.suffix, before) == (tmp_path, ".tmp", False)
    assert (second, after) == (tmp_path, True)


def test_a_file_of_a_folder_below_is_put_in_its_place(tmp_path):
    made = tmp_path / ".x" / "network.onnx"
    made.parent.mkdir()
    made.write_bytes(b"network")
    put_in_place(made, tmp_path / "network.onnx")
    assert (tmp_path / "network.onnx").read_bytes() == b"network"


def test_a_folder_replaces_a_folder_and_leaves_nothing_of_it(tmp_path):
    target = tmp_path / "network.mlpackage"
    for name in ("first", "second"):
        made = tmp_path / ".x" / target.name
        (made / "data").mkdir(parents=True)
        (made / "data" / name).write_text("network")
        put_in_place(made, target)
    assert [path.name for path in target.rglob("*")] == ["data", "second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x", "network.mlpackage"]
    assert list((tmp_path / ".x").iterdir()) == []


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = ["last.ckpt", ".lock", ".hidden.tmp", "notes.tmp", ".x.0123456789ABCDEF.tmp"]
    for name in kept:
        (tmp_path / name).write_text("")
    temporary_path(tmp_path / "last.ckpt").write_text("half")
    (tmp_path / ".network.onnx.a1b2c_d4.tmp").mkdir()
    (tmp_path / ".network.onnx.a1b2c_d4.tmp" / "network.onnx").write_text("half")
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_temporaries(tmp_path / "gone")
