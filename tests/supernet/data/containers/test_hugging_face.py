"""HuggingFace: rows are read, split and known as the same files in folders are."""

import sys

import pytest
import torch

from supernet.data.containers.hugging_face import HuggingFace
from supernet.data.image_folder import ImageFolder
from supernet.data.run_data import RunData
from supernet.errors import UserError
from tests.helpers.encoded_images import NAMES, contents, encoded, labelled, write_folder

SETTINGS = {"resolution": 8, "batch_size": 4, "num_workers": 0}


@pytest.fixture
def library():
    return pytest.importorskip("datasets", reason="the extra huggingface is not installed")


@pytest.fixture
def save(library, tmp_path, monkeypatch):
    """Write a data set to a folder, of (file, label) pairs or a mapping of splits to them."""
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()

    def rows(images, kind):
        columns = {
            "image": [content and {"bytes": content, "path": None} for content, _ in images],
            "label": [label for _, label in images],
        }
        features = library.Features({"image": library.Image(), "label": kind})
        return library.Dataset.from_dict(columns, features)

    def write(images, kind=None, name="saved"):
        kind = kind or library.ClassLabel(names=list(NAMES))
        if isinstance(images, dict):
            splits = {split: rows(held, kind) for split, held in images.items()}
            held = library.DatasetDict(splits)
        else:
            held = rows(images, kind)
        held.save_to_disk(tmp_path / name)
        return str(tmp_path / name)

    return write


def refused(root, **settings):
    with pytest.raises(UserError) as error:
        HuggingFace(root, **{**SETTINGS, **settings}).prepare_data()
    line = str(error.value)
    assert "\n" not in line
    return line


def test_rows_are_dealt_and_seen_as_the_same_files_in_a_folder(save, tmp_path):
    images = labelled(12)
    ours = HuggingFace(save(images), **SETTINGS)
    folder = ImageFolder(str(write_folder(tmp_path / "images", images)), **SETTINGS)
    assert ours.classes == folder.classes == NAMES
    assert contents(ours) == contents(folder)
    for part in ("weights", "reward", "val", "test"):
        one, other = (getattr(data, f"{part}_dataloader")().dataset for data in (ours, folder))
        assert one.targets == other.targets
        for index in range(len(one)):
            torch.manual_seed(index)
            image, label = one[index]
            torch.manual_seed(index)
            assert torch.equal(image, other[index][0])
            assert label == other[index][1]


def test_splits_of_usual_names_stay_and_others_are_left_out(save, capsys):
    splits = {"train": labelled(9), "validation": labelled(2)[:5], "extra": labelled(1)}
    root = save(splits)
    data = RunData(HuggingFace(root, **SETTINGS), "retrain", seed=0)
    data.setup("fit")
    line = capsys.readouterr().out
    assert "3 of the split extra ignored" in line
    assert "3 classes (cat, dog, owl)" in line
    assert "px, read at 8 px" in line
    records = data.inner.image_records()
    assert {r.path for r in records if r.split in ("val", "copy")} >= {"validation/0"}
    told = HuggingFace(root, splits={"train": "train", "test": "validation"}, **SETTINGS)
    assert sum(record.split == "test" for record in told.image_records()) == 5


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_labels_that_name_no_classes_are_numbers_or_names(save, library, kind):
    def value(label):
        return label if kind == "int64" else NAMES[label]

    images = [(content, value(label)) for content, label in labelled(9)]
    data = HuggingFace(save(images, library.Value(kind)), **SETTINGS)
    assert data.classes == (("0", "1", "2") if kind == "int64" else NAMES)
    assert len(data.train_dataloader().dataset) > 10


def test_a_folder_of_parquet_files_is_read(save, library, tmp_path):
    rows = library.load_from_disk(save(labelled(9)))
    (tmp_path / "parquet").mkdir()
    rows.to_parquet(tmp_path / "parquet" / "train.parquet")
    data = HuggingFace(str(tmp_path / "parquet"), **SETTINGS)
    assert contents(data) == contents(HuggingFace(str(tmp_path / "saved"), **SETTINGS))


def test_what_was_found_of_rows_is_kept_until_their_files_change(save, monkeypatch):
    images = labelled(9)
    root = save(images)
    monkeypatch.setattr("supernet.data.images.index_cache.SETTLED_S", -1)
    first = HuggingFace(root, **SETTINGS)
    before = contents(first)
    with monkeypatch.context() as patch:
        patch.setattr(first.reader.store.__class__, "content", lambda self, path: 1 / 0)
        assert contents(HuggingFace(root, **SETTINGS)) == before
    other = save([*images[:-1], (encoded("cow", 7), 2)], name="other")
    assert contents(HuggingFace(other, **SETTINGS)) != before
    save([*images[:-1], (encoded("cow", 7), 2)])
    assert contents(HuggingFace(root, **SETTINGS)) != before


BAD = {
    "column 'photo', but image, label: name it by --data.image_column": {"image_column": "photo"},
    "no column 'class', but image, label: name it by --data.label_column": {
        "label_column": "class"
    },
    "the column label of": {"image_column": "label"},
    "data.splits names 'tests', but": {"splits": {"train": "train", "test": "tests"}},
    "data.splits is 'dev', allowed are train, val, test": {"splits": {"dev": "train"}},
    "crop_pct is 2, it must be": {"crop_pct": 2},
}


@pytest.mark.parametrize("said", BAD)
def test_a_wrong_setting_is_named(save, said):
    assert said in refused(save(labelled(4)), **BAD[said])


def test_labels_that_are_missing_or_no_class_are_named(save, library):
    image = encoded("cat", 0)
    missing = save([*labelled(2), (image, None)], name="missing")
    assert refused(missing).startswith(f"1 of 7 images of {missing} have no label, such as train/6")
    numbers = library.Value("int64")
    negative = save({"train": labelled(2), "test": [(image, -1)]}, numbers, "negative")
    assert f"test/0 of {negative} has the label -1, but those of classes are 0 to 2" in refused(
        negative
    )
    gap = save([(image, 0), (encoded("dog", 0), 2)], numbers, "gap")
    assert "the split train of" in (line := refused(gap))
    assert "has no image of class 1:" in line
    floats = save([(image, 0.5)] * 2, library.Value("float32"), "floats")
    assert "are of the type float, they must be whole numbers or names" in refused(floats)
    assert "has 1 class(es), at least 2 are needed" in refused(save([(image, 0)], numbers, "one"))


def test_splits_without_train_and_two_of_one_name_are_named(save):
    held = labelled(2)
    assert "has half, none of which is train: say which is, --data.splits '{" in refused(
        save({"half": held}, name="half")
    )
    both = save({"train": held, "dev": held, "validation": held}, name="both")
    assert "has the splits dev and validation, which name one split" in refused(both)


def test_rows_that_cannot_be_read_are_all_named_or_skipped(save):
    images = labelled(9)
    images[4], images[7] = (b"no image", 1), (None, 1)
    root = save(images)
    line = refused(root)
    assert line.startswith("2 of 27 images cannot be read: train/4 (cannot identify image file), ")
    assert "train/7 (the row has no image); repair them, or go on without them" in line
    data = HuggingFace(root, on_bad_image="skip", **SETTINGS)
    assert len(data.train_dataloader().dataset) + len(data.val_dataloader().dataset) <= 25
    assert any("train/4 (" in note for note in data.notes)


def test_what_is_no_data_set_is_named(library, tmp_path):
    assert "is not a folder, nor a name on the Hugging Face hub" in refused("/nowhere/saved")
    assert f"{tmp_path} cannot be read as a Hugging Face data set (" in refused(str(tmp_path))
    (tmp_path / "state.json").write_text("{")
    assert f"{tmp_path} cannot be read as a Hugging Face data set (" in refused(str(tmp_path))


@pytest.mark.parametrize("prefix", ["", "hfds/", "hfids/"])
def test_names_of_the_hub_are_read_by_them_and_as_timm_writes_them(
    library, monkeypatch, save, prefix
):
    held = library.load_from_disk(save({"train": labelled(6), "test": labelled(2)}))
    asked = []

    def load(*words, **named):
        asked.append((words, named))
        return held

    monkeypatch.setattr(library, "load_dataset", load)
    settings = {"subset": "small", "revision": "abc", **SETTINGS}
    data = HuggingFace(f"{prefix}owner/name", **settings)
    assert asked == [(("owner/name", "small"), {"revision": "abc"})]
    assert {one.path for one in data.image_records() if one.split == "test"} >= {"test/0"}


def test_a_name_on_the_hub_without_a_network_is_one_line(
    library, monkeypatch, search, tiny_search, capsys
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    data = ["--data", "HuggingFace", "--data.root", "ylecun/mnist", "--data.resolution", "8"]
    with pytest.raises(SystemExit) as leaving:
        search(*tiny_search, *data)
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ylecun/mnist is not a folder here, and the Hugging Face")
    assert line.count("\n") == 1


def test_a_missing_library_is_said_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs `pip install 'mnasnet-search\[huggingface\]'`"):
        HuggingFace("ylecun/mnist")
