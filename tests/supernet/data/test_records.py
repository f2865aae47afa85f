"""Records of images: of data sets that hold files or arrays, of datamodules, and of none."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset
from torchvision.datasets import DatasetFolder

from retrain.detect.digit_boxes import DigitBoxes
from supernet.data import ClutteredDigits, Digits
from supernet.data.records import ImageRecord, data_digest, dataset_records, given_records
from supernet.data.run_data import RunData
from supernet.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.bin").write_bytes(f"{name}{number}".encode())
    return DatasetFolder(str(tmp_path), Path.read_bytes, extensions=(".bin",))


def digest(content):
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def test_files_of_torchvisions_folders_are_recorded_by_content(folder):
    assert dataset_records(folder, "train") == [
        ImageRecord("cat/0.bin", 0, "train", digest(b"cat0")),
        ImageRecord("cat/1.bin", 0, "train", digest(b"cat1")),
        ImageRecord("dog/0.bin", 1, "train", digest(b"dog0")),
        ImageRecord("dog/1.bin", 1, "train", digest(b"dog1")),
    ]


def test_subsets_and_unions_are_recorded_image_by_image(folder):
    every = dataset_records(folder, "val")
    assert dataset_records(Subset(folder, [2, 0, 2]), "val") == [every[2], every[0], every[2]]
    joined = ConcatDataset([folder, Subset(folder, [1])])
    assert dataset_records(joined, "val") == [*every, every[1]]


def test_a_file_that_is_named_twice_is_recorded_twice(folder):
    folder.samples = folder.samples * 2
    assert len(dataset_records(folder, "train")) == 8


def test_equal_arrays_have_equal_digests_in_any_data_set():
    class Held(Dataset):
        data = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
        targets = [0, 1, 0, 1]

        def __len__(self):
            return 4

    records = dataset_records(Held(), "test")
    assert [record.label for record in records] == [0, 1, 0, 1]
    assert records[2].path == "Held/2"
    assert len({record.digest for record in records}) == 4
    tensors = TensorDataset(torch.from_numpy(Held.data), torch.tensor(Held.targets))
    assert [r.digest for r in dataset_records(tensors, "test")] == [r.digest for r in records]
    other = TensorDataset(torch.from_numpy(Held.data).float())
    assert {r.digest for r in dataset_records(other, "test")}.isdisjoint(r.digest for r in records)
    assert [r.label for r in dataset_records(other, "test")] == [-1] * 4


class Odd(Dataset):
    def __init__(self, **held):
        self.__dict__.update(held)

    def __len__(self):
        return 2


class Unnamed(Odd):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.zeros(3, 8, 8), index % 2


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"samples": [("gone/0.png", 0), ("gone/1.png", 1)]},
        {"samples": [1, 2]},
        {"data": ["a/0.png", "a/1.png"], "targets": [0, 1]},
        {"data": np.zeros((3, 2, 2)), "targets": [0, 1, 0]},
        {"data": np.zeros((2, 2, 2)), "targets": [0]},
        {"data": {"images": 1, "labels": 2}},
        {"data": None},
    ],
    ids=str,
)
def test_what_holds_neither_files_nor_arrays_has_no_records(held):
    assert dataset_records(Odd(**held), "train") is None
    assert dataset_records(Subset(Odd(**held), [0]), "train") is None
    assert dataset_records(ConcatDataset([Odd(**held)]), "train") is None


class Data(pl.LightningDataModule):
    num_classes, resolution = 2, 8

    def __init__(self, train, val):
        super().__init__()
        self.train, self.val = train, val

    def train_dataloader(self):
        return DataLoader(self.train, 2, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, 2)

    test_dataloader = val_dataloader


def tensors(number, seed):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.rand(number, 3, 8, 8, generator=generator), torch.arange(number) % 2)


def test_a_run_has_the_records_of_its_datamodules_sets_and_their_digest():
    data = RunData(Data(tensors(20, 0), tensors(4, 1)), "search", seed=0)
    assert [record.split for record in data.records] == ["train"] * 20 + ["val"] * 4
    assert data.description.digest == data_digest(data.records)
    same = RunData(Data(tensors(20, 0), tensors(4, 1)), "retrain", seed=5)
    assert same.description.digest == data.description.digest
    assert [r.digest for r in same.test_records()] == [r.digest for r in same.records[20:]]
    other = RunData(Data(tensors(20, 0), tensors(4, 2)), "search", seed=0)
    assert other.description.digest != data.description.digest


def test_a_run_without_records_says_so_in_one_line(capsys):
    data = RunData(Data(Unnamed(), tensors(4, 0)), "search", seed=0)
    data.setup("fit")
    _, note = capsys.readouterr().out.splitlines()
    assert note.startswith("note: Data does not tell its images by their content")
    assert (data.records, data.description.digest) == (None, "")


def test_a_datamodules_own_records_are_taken(capsys):
    class Own(Data):
        def image_records(self):
            yield "a", 0, "train", "11"
            yield "b", 1, "test", "22"

    data = RunData(Own(Odd(), Odd()), "retrain", seed=0)
    data.setup("fit")
    assert data.records == [ImageRecord("a", 0, "train", "11"), ImageRecord("b", 1, "test", "22")]
    assert data.test_records() == data.records[1:]
    assert "note:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "given", [(0, "a", "train", "11"), "a", ("a", 0, "train", ""), None, ("a", 0, "train", "1", 2)]
)
def test_records_of_another_form_are_refused(given):
    class Own(Data):
        def image_records(self):
            return [given]

    with pytest.raises(UserError, match=r"Own\.image_records\(\) must give \(path, label, split"):
        given_records(Own(Odd(), Odd()))


def test_the_digest_is_of_every_field_in_any_order():
    one, two = ImageRecord("a", 0, "train", "11"), ImageRecord("b", 1, "val", "22")
    digest = data_digest([one, two])
    assert digest == data_digest([two, one])
    changed = [("c", 0, "train", "11"), ("a", 1, "train", "11"), ("a", 0, "val", "11")]
    for values in [*changed, ("a", 0, "train", "12"), ("a", 0, "train", "11", "boxes")]:
        assert data_digest([ImageRecord(*values), two]) != digest


@pytest.mark.parametrize("data", [Digits, ClutteredDigits])
def test_every_digit_has_a_record_of_its_split(data):
    records = data().image_records()
    assert len({record.digest for record in records}) == len(records) == 1797
    for split in ("weights", "reward", "val", "test"):
        labels = [record.label for record in records if record.split == split]
        loader = getattr(data(), f"{split}_dataloader")()
        sources = getattr(loader.dataset, "classes", loader.dataset.targets)
        assert labels == list(sources)


def test_a_digit_is_the_same_in_all_embedded_data_sets():
    sets = [data.image_records() for data in (Digits(24), ClutteredDigits(), DigitBoxes())]
    one, *others = [{record.path: record.digest for record in records} for records in sets]
    assert others == [one, one]


def test_another_seed_tests_digits_that_were_trained_on():
    trained = {r.digest for r in Digits().image_records() if r.split in {"weights", "reward"}}
    test = {r.digest for r in Digits(split_seed=1).image_records() if r.split == "test"}
    assert len(trained & test) > 200
    assert data_digest(Digits().image_records()) != data_digest(
        Digits(split_seed=1).image_records()
    )


def test_image_files_of_another_reader_have_the_digests_of_ours(tmp_path):
    from supernet.data import ImageFolder

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(20):
            pixels = np.full((4, 4, 3), number + 100 * (name == "dog"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    ours = {r.path: r.digest for r in ImageFolder(str(tmp_path), resolution=8).image_records()}
    theirs = dataset_records(DatasetFolder(str(tmp_path), Image.open, (".png",)), "train")
    assert {r.path: r.digest for r in theirs} == ours
