"""arch.json: what is written comes back, and nothing that was tampered with is believed."""

import errno
import json
import math
import os
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from supernet.arch_file import ArchFile, load_spec, read_arch, write_arch
from supernet.arch_records import Measured
from supernet.cost.counts import Cost, count
from supernet.data_description import DataDescription, Preprocessing
from supernet.errors import UserError
from supernet.files.writing import write_atomic
from supernet.space.arch import Arch
from supernet.space.mnasnet import MnasSpace
from supernet.space.published import published

SPACE = MnasSpace(width=0.35, resolution=16, classes=10, stem_stride=1, head=256)
FOUND = ArchFile(
    space=SPACE,
    arch=SPACE.sample(random.Random(1)),
    predicted=1.25,
    unit="ms",
    table="9f2c",
    device="Pixel 1, one thread",
    accuracy=0.9375,
    reward=0.92,
    target=1.3,
    seed=0,
    step=4000,
)


TIMED = replace(FOUND, measured=Measured.beside(1.25, 1.0))


@pytest.fixture
def path(tmp_path):
    """An arch.json that a search wrote."""
    write_arch(tmp_path / "arch.json", FOUND)
    return tmp_path / "arch.json"


def edit(path: Path, change) -> None:
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(UserError) as error:
        read_arch(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 800
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("seed", range(10))
def test_reading_gives_back_what_was_written(tmp_path, seed):
    found = replace(FOUND, arch=SPACE.sample(random.Random(seed)), seed=seed)
    write_arch(tmp_path / "arch.json", found)
    assert read_arch(tmp_path / "arch.json") == found


def test_equal_contents_give_equal_bytes(path, tmp_path):
    write_arch(tmp_path / "again.json", read_arch(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_the_file_names_its_format_first_and_every_field_of_the_schema_in_order(path):
    assert list(json.loads(path.read_text())) == [
        "format",
        "version",
        "space",
        "arch",
        "block_strings",
        "resolution",
        "classes",
        "params",
        "macs",
        "predicted",
        "unit",
        "table",
        "device",
        "accuracy",
        "reward",
        "target",
        "seed",
        "step",
        "checksum",
    ]


def test_what_follows_from_the_architecture_is_written_beside_it(path):
    fields, spec = json.loads(path.read_text()), SPACE.spec(FOUND.arch)
    assert fields["block_strings"] == spec.block_strings()
    assert Cost(fields["params"], fields["macs"]) == count(spec)
    assert (fields["resolution"], fields["classes"]) == (16, 10)


def test_an_architecture_is_stored_in_its_canonical_spelling():
    first = replace(FOUND.arch.blocks[0], filters=1.25, layers=0)
    noisy = Arch((first, *FOUND.arch.blocks[1:]))
    assert SPACE.canonical(noisy) != noisy
    assert replace(FOUND, arch=noisy).arch == SPACE.canonical(noisy)


def test_a_choice_of_another_number_type_is_stored_as_the_spaces_own_value(path):
    whole = tuple(replace(block, se=int(block.se), filters=1) for block in FOUND.arch.blocks)
    stored = replace(FOUND, arch=Arch(tuple(replace(block, se=0) for block in whole)))
    assert {type(block.se) for block in stored.arch.blocks} == {float}


def test_whole_numbers_are_read_where_a_file_gives_them_for_fractions(path):
    edit(path, lambda fields: [fields.pop("checksum"), fields.update(target=2)])
    assert read_arch(path).target == 2.0
    assert type(read_arch(path).target) is float


def test_what_was_measured_is_the_last_field_and_comes_back(tmp_path, path):
    timed = tmp_path / "timed.json"
    write_arch(timed, TIMED)
    assert read_arch(timed) == TIMED
    fields, plain = json.loads(timed.read_text()), json.loads(path.read_text())
    assert fields.pop("checksum") != plain.pop("checksum")
    assert fields.pop("measured") == {"ms": 1.0, "difference_percent": -20.0}
    assert list(fields.items()) == list(plain.items())
    assert TIMED.measured.comparison == "20.0 % less than predicted"
    assert Measured.beside(2.0, 2.5).comparison == "25.0 % more than predicted"


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (None, "measured is None, it must be a JSON object"),
        ({"ms": 1.0}, "field measured.difference_percent is missing"),
        ({"ms": -1.0, "difference_percent": -180.0}, "measured.ms is -1.0, it must be at least"),
        ({"ms": 1.0, "difference_percent": 3.0}, "measured.difference_percent is 3.0, but between"),
    ],
)
def test_a_measurement_that_cannot_be_is_refused(path, measured, message):
    edit(path, lambda fields: fields.update(measured=measured))
    assert refusal(path).startswith(message)


def test_a_measurement_beside_a_count_is_refused(path):
    measured = {"ms": 1.0, "difference_percent": -20.0}
    edit(path, lambda fields: fields.update(unit="macs", measured=measured))
    assert refusal(path).startswith("measured is in ms, but unit is macs")


def test_of_a_search_with_several_targets_one_file_must_be_named(tmp_path, path):
    path.rename(tmp_path / "arch-p20.json")
    (tmp_path / "arch-p50.json").touch()
    assert refusal(path).endswith(": name one of arch-p20.json, arch-p50.json there")


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_what_is_not_json_is_refused(path, text):
    path.write_text(text, encoding="latin-1")
    assert refusal(path) == "not JSON: name the arch.json that a search wrote"


@pytest.mark.parametrize("text", ["[]", "3", "null", '"mnasnet-arch"'])
def test_json_that_is_no_object_is_refused(path, text):
    path.write_text(text)
    assert "it must be a JSON object" in refusal(path)


@pytest.mark.parametrize("text", ["{}", '{"name": "package", "version": "1.0"}'])
def test_foreign_json_is_refused_by_its_format(path, text):
    path.write_text(text)
    assert refusal(path).startswith("format is None, not 'mnasnet-arch'")


def test_a_file_from_before_a_setting_existed_has_its_default(path):
    old = ("restrictions", "reference")
    edit(path, lambda fields: [fields.pop("checksum"), *map(fields["space"].pop, old)])
    assert read_arch(path) == FOUND


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_with_both_versions(path, version):
    edit(path, lambda fields: fields.update(version=version, novelty=3))
    assert refusal(path).startswith(f"version is {version!r}, this program reads 1: ")


def test_an_unknown_field_is_named_with_the_known_ones(path):
    edit(path, lambda fields: fields.update({"date\n": "today"}))
    assert refusal(path).startswith(r"unknown field 'date\n', allowed are format, version, space")


@pytest.mark.parametrize("name", ["space", "arch", "params", "unit", "step"])
def test_a_missing_field_is_named(path, name):
    edit(path, lambda fields: fields.pop(name))
    assert refusal(path).startswith(f"field {name} is missing")


@pytest.mark.parametrize(
    ("decision", "value", "allowed"),
    [
        ("op", "mbconv4", "conv, sepconv, mbconv3, mbconv6"),
        ("kernel", 7, "3, 5"),
        ("se", 0.5, "0.0, 0.25"),
        ("skip", "max", "none, identity, pool"),
        ("filters", 2.0, "0.75, 1.0, 1.25"),
        ("layers", 3, "-1, 0, 1"),
    ],
)
def test_a_choice_outside_the_space_names_block_decision_value_and_limits(
    path, decision, value, allowed
):
    edit(path, lambda fields: fields["arch"][3].update({decision: value}))
    assert refusal(path) == f"block 4: {decision} is {value!r}, this space allows {allowed}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields["arch"].pop(), "architecture has 6 blocks, the space has 7"),
        (lambda fields: fields["arch"][1].pop("se"), "field block 2: se is missing"),
        (lambda fields: fields["arch"][1].update(groups=2), "unknown field block 2: 'groups'"),
        (lambda fields: fields["arch"][1].update(kernel="3"), "block 2: kernel is '3', it must be"),
        (lambda fields: fields["arch"][1].update(layers=True), "block 2: layers is True, it must"),
        (lambda fields: fields.update(arch={}), "arch is {}, it must be a list"),
        (lambda fields: fields.update(arch=[3] * 7), "block 1 is 3, it must be a JSON object"),
        (lambda fields: fields.update(space=[]), "space is [], it must be a JSON object"),
        (lambda fields: fields["space"].pop("head"), "params is 116882, but its architecture has"),
        (lambda fields: fields["space"].update(depth=3), "unknown field space.'depth'"),
        (lambda fields: fields["space"].update(head="256"), "space.head is '256', it must be"),
        (lambda fields: fields["space"].update(width=math.nan), "space.width is nan, it must be"),
        (lambda fields: fields["space"].update(strides=1), "space.strides is 1, it must be a list"),
        (lambda fields: fields["space"].update(ops=[None]), "space.ops is None, it must be a str"),
        (lambda fields: fields["space"].update(ops=["dense"]), "space.ops: unknown value 'dense'"),
        (lambda fields: fields.update(seed=0.5), "seed is 0.5, it must be a whole number"),
        (lambda fields: fields.update(accuracy="high"), "accuracy is 'high', it must be a finite"),
        (lambda fields: fields.update(reward=math.inf), "reward is inf, it must be a finite"),
        (lambda fields: fields.update(target=10**400), "target is 1000"),
        (lambda fields: fields["block_strings"].pop(), "block_strings is ['r1_"),
        (lambda fields: fields.update(unit="s"), "unit is 's', allowed are ms, macs, params"),
        (lambda fields: fields.update(device=["x" * 9999]), "device is ['xxx"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(path, change, message):
    edit(path, change)
    assert refusal(path).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 17.0}, "accuracy is 17.0, it must be at least 0 and at most 1"),
        ({"accuracy": -0.1}, "accuracy is -0.1, it must be at least 0 and at most 1"),
        ({"target": -1.0}, "target is -1.0, it must be above 0"),
        ({"target": 0.0}, "target is 0.0, it must be above 0"),
        ({"predicted": 0.0}, "predicted is 0.0, it must be above 0"),
        ({"predicted": 1e30, "target": 1e30}, "predicted is 1e+30, it must be above 0 and at most"),
        ({"target": 1.2}, "predicted is 1.25, above the target 1.2: "),
        ({"seed": -1}, "seed is -1, it must be at least 0 and below 4.29497e+09"),
        ({"seed": 2**64}, "seed is 18446744073709551616, it must be"),
        ({"step": -3}, "step is -3, it must be at least 0"),
        ({"device": "\x1b[2J"}, r"device is '\x1b[2J', it must be a string without control"),
        ({"device": "\ud800"}, r"device is '\ud800', it must be a string without control"),
        (
            {"unit": "macs", "table": "", "device": ""},
            "predicted is 1.25, but its architecture has",
        ),
        ({"unit": "macs"}, "unit is macs, but the file names a table '9f2c' of the device 'Pixel"),
    ],
    ids=str,
)
def test_a_value_that_no_search_found_is_named_with_its_range(path, change, message):
    edit(path, lambda fields: fields.update(change))
    assert refusal(path).startswith(message)


def test_a_cost_that_follows_from_the_architecture_is_computed_anew(path, tmp_path):
    macs = float(FOUND.macs)
    counted = replace(FOUND, unit="macs", table="", device="", predicted=macs, target=macs + 1)
    write_arch(path, counted)
    assert read_arch(path) == counted
    edit(path, lambda fields: fields.update(predicted=macs - 1))
    assert refusal(path).startswith(
        f"predicted is {macs - 1}, but its architecture has macs {macs}"
    )


@pytest.mark.parametrize(
    "change", [{"accuracy": 0.95}, {"reward": 0.5}, {"table": "af"}, {"seed": 4}], ids=str
)
def test_a_value_that_nothing_else_tells_is_kept_by_the_checksum(path, change):
    edit(path, lambda fields: fields.update(change))
    assert refusal(path).startswith("checksum is '")
    edit(path, lambda fields: fields.pop("checksum"))
    assert getattr(read_arch(path), next(iter(change))) == next(iter(change.values()))


@pytest.mark.parametrize("checksum", [None, 3, "", ["a"], {"a": 1}])
def test_a_checksum_that_is_none_is_refused(path, checksum):
    edit(path, lambda fields: fields.update(checksum=checksum))
    assert refusal(path).startswith("checksum is ")


def test_a_field_that_stands_there_twice_is_refused(path):
    text = path.read_text().replace('"accuracy": 0.9375', '"accuracy": 0.9375, "accuracy": 0.99')
    path.write_text(text)
    assert refusal(path).startswith("field 'accuracy' stands there twice: keep one")


DATA = DataDescription(
    tuple(f"class {n}" for n in range(10)),
    "d1",
    Preprocessing(20, 16, "bilinear", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
)


@pytest.mark.parametrize("data", [DATA, replace(DATA, preprocessing=None)])
def test_what_the_data_are_is_written_and_comes_back(path, data):
    write_arch(path, replace(FOUND, data=data))
    assert read_arch(path).data == data


def test_versions_are_written_and_come_back(path):
    write_arch(path, replace(FOUND, versions={"torch": "2.15.0"}))
    assert read_arch(path).versions == {"torch": "2.15.0"}
    edit(path, lambda fields: fields.update(versions={"torch": 2}))
    assert refusal(path).startswith("versions.torch is 2, it must be a string")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a"]}, "data.classes names 1 classes, but its architecture has 10"),
        ({"classes": ["a", "a"]}, "data.classes has 'a' twice"),
        ({"digest": 3}, "data.digest is 3, it must be a string"),
        ({"preprocessing": {"resize": 3}}, "field data.preprocessing.crop is missing"),
        ({"pixels": 3}, "unknown field data.'pixels'"),
    ],
)
def test_data_that_cannot_be_are_refused(path, change, message):
    write_arch(path, replace(FOUND, data=DATA))
    edit(path, lambda fields: fields["data"].update(change))
    assert refusal(path).startswith(message)


def test_a_mean_of_two_channels_is_refused(path):
    write_arch(path, replace(FOUND, data=DATA))
    edit(path, lambda fields: fields["data"]["preprocessing"].update(mean=[0.1, 0.2]))
    assert refusal(path).startswith("data.preprocessing.mean is [0.1, 0.2], it must be a list of 3")


@pytest.mark.parametrize("name", ["params", "macs", "resolution", "classes"])
def test_a_count_that_its_architecture_does_not_have_is_refused_with_both(path, name):
    true = getattr(FOUND, name)
    edit(path, lambda fields: fields.update({name: true - 1}))
    assert refusal(path).startswith(f"{name} is {true - 1}, but its architecture has {true}: ")


def test_an_architecture_that_was_exchanged_is_refused(path):
    other = "conv" if FOUND.arch.blocks[2].op != "conv" else "sepconv"
    edit(path, lambda fields: fields["arch"][2].update(op=other))
    assert refusal(path).startswith("block_strings, block 3 is 'r")


def test_a_file_that_is_missing_or_a_folder_is_refused_with_the_reason(tmp_path):
    assert refusal(tmp_path / "arch.json").startswith("cannot be read (No such file or directory)")
    assert refusal(tmp_path).startswith("cannot be read (Is a directory)")


@pytest.mark.parametrize(
    "change", [{"accuracy": math.nan}, {"predicted": math.inf}, {"unit": "seconds"}], ids=str
)
def test_an_unusable_value_cannot_be_constructed(change):
    name = next(iter(change))
    with pytest.raises(UserError, match=f"^{name} is "):
        replace(FOUND, **change)


def test_loading_by_published_name_or_by_file_gives_the_network(path):
    assert load_spec("mnasnet_a1") == published["mnasnet_a1"]
    assert load_spec(str(path)) == SPACE.spec(FOUND.arch) == FOUND.spec


def test_loading_neither_a_name_nor_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown network 'mnasnet_c1'"):
        load_spec("mnasnet_c1")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "none.json"))):
        load_spec(str(tmp_path / "none.json"))


def test_a_full_disk_keeps_the_earlier_file_and_leaves_nothing_behind(path, monkeypatch):
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; nothing was lost") as error:
        write_arch(path, replace(FOUND, seed=9))
    assert str(path) in str(error.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_earlier_file_and_leaves_nothing_behind(path, monkeypatch):
    before = path.read_bytes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_arch(path, replace(FOUND, seed=9))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_writing_where_there_is_no_folder_names_the_path(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*gone/file: No such file or directory"):
        write_atomic(tmp_path / "gone" / "file", b"")


def test_a_written_file_has_the_usual_permissions(path):
    ordinary = path.with_name("ordinary")
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode
