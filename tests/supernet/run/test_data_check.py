"""Data of a run, of its search and of its test, compared by content."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from supernet.arch_file import write_arch
from supernet.data.digits import ClutteredDigits, Digits
from supernet.data.image_folder import ImageFolder
from supernet.data.records import ImageRecord
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription
from supernet.errors import UserError
from supernet.run.data_check import DataCheck
from supernet.run.data_record import FOLDER
from supernet.space.arch import Arch, BlockChoice
from tests.helpers.archs import counted_arch
from tests.helpers.tiny import SPACE

KINDS = ("cat", "dog", "owl")


def fill(root, first=0, number=15, kinds=KINDS):
    """Images that all differ, in one folder for each class."""
    for label, kind in enumerate(kinds):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + number):
            pixels = np.full((4, 4, 3), label * 64 + index // 256, np.uint8)
            pixels[0, 0] = index % 256
            Image.fromarray(pixels).save(root / kind / f"{index}.png")


def folder_data(root, **settings):
    return ImageFolder(str(root), resolution=8, num_workers=0, **settings)


def files(root, *splits, **settings):
    return sorted(path for path, _ in folder_data(root, **settings).found.files(*splits))


def enter(run, inner, verb="fit", checkpoint=None, **module):
    """What a run does with its data before it trains or tests."""
    data = RunData(inner, "retrain", seed=0)
    check = DataCheck(run, checkpoint)
    check.prepare(data, verb)
    trainer = SimpleNamespace(datamodule=data, is_global_zero=True)
    check.setup(trainer, SimpleNamespace(**module), verb)
    if verb == "fit":
        check.on_train_start(trainer, SimpleNamespace(**module))
        path = run / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"data": dataclasses.asdict(data.description)}, path)
    return check


def go_on(run, inner, verb="test"):
    return enter(run, inner, verb, run / "checkpoints" / "best.ckpt")


def refused(run, inner, verb="test"):
    with pytest.raises(UserError) as error:
        go_on(run, inner, verb)
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.fixture
def images(tmp_path):
    fill(tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path, images):
    """The folder of a run that was trained on the images."""
    enter(tmp_path / "run", folder_data(images))
    return tmp_path / "run"


def record_path(run):
    [path] = (run / FOLDER).iterdir()
    return path


# --- tests ----------------------------------------------------------------------------------------


def test_unchanged_data_are_tested_without_a_word(run, images, capsys):
    go_on(run, folder_data(images))
    assert capsys.readouterr().out == ""


def test_adding_renaming_removing_and_relabelling_put_no_trained_image_into_a_test(
    run, images, capsys
):
    taken = files(images, "weights", "test")[::3]
    fill(images, first=100, number=4)
    kinds = [KINDS[number % 3] for number in range(len(taken))]
    for number, (path, kind) in enumerate(zip(taken, kinds, strict=True)):
        Path(path).rename(images / kind / f"new-{number}.png")
    (images / "owl" / "102.png").unlink()
    go_on(run, folder_data(images))
    relabelled = sum(f"/{kind}/" not in path for path, kind in zip(taken, kinds, strict=True))
    assert capsys.readouterr().out == (
        f"data: 11 added, {relabelled} relabelled, {len(taken)} renamed since the run was trained\n"
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_another_split_seed_is_refused_with_the_number_of_trained_images(run, images, seed):
    trained, test = files(images, "weights", "reward"), files(images, "test", split_seed=seed)
    number = len(set(trained) & set(test))
    line = refused(run, folder_data(images, split_seed=seed))
    assert f"{number} of {len(test)} test images were trained on, by this run" in line


def test_trained_images_under_other_names_and_labels_are_counted(run, images, tmp_path):
    other = tmp_path / "other"
    fill(other / "train", first=200, number=30)
    fill(other / "test", first=300, number=3)
    taken = files(images, "weights", "reward")[::4]
    for number, path in enumerate(taken):
        shutil.copy(path, other / "test" / KINDS[number % 3] / f"new-{number}.png")
    line = refused(run, folder_data(other))
    assert f"{len(taken)} of {len(taken) + 9} test images were trained on" in line


def test_images_that_chose_the_weights_are_told(run, images, tmp_path, capsys):
    other = tmp_path / "other"
    fill(other / "train", first=200, number=30)
    fill(other / "test", first=300, number=3)
    chose = files(images, "val")
    for number, path in enumerate(chose):
        shutil.copy(path, other / "test" / "cat" / f"new-{number}.png")
    go_on(run, folder_data(other))
    told = f"note: {len(chose)} of {len(chose) + 9} test images chose the weights"
    assert told in capsys.readouterr().out


class Arrays(pl.LightningDataModule):
    """Another datamodule, of images in memory or of nothing that anyone knows."""

    num_classes, resolution = 3, 8

    def __init__(self, first=0, known=True, records=()):
        super().__init__()
        self.first, self.known = first, known
        if records:
            self.image_records = lambda: records

    def _loader(self, first, number=12):
        images = torch.zeros(number, 3, 8, 8) + torch.arange(first, first + number).view(
            -1, 1, 1, 1
        )
        dataset = TensorDataset(images, torch.arange(number) % 3)
        return DataLoader(dataset if self.known else Unknown(dataset), 4)

    def train_dataloader(self):
        return self._loader(self.first)

    def val_dataloader(self):
        return self._loader(self.first + 50)

    def test_dataloader(self):
        return self._loader(70)


class Unknown(Dataset):
    """Images of which no one knows the content before it is read."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def test_a_test_by_another_datamodule_is_compared_by_content(run, images):
    told = folder_data(images).image_records()
    trained = [one for one in told if one.split == "weights"]
    moved = [ImageRecord(f"x/{i}", 0, "test", one.digest) for i, one in enumerate(trained[:5])]
    fresh = [one for one in told if one.split == "test"]
    go_on(run, Arrays(records=fresh))
    line = refused(run, Arrays(records=fresh + moved))
    assert f"5 of {len(fresh) + 5} test images were trained on, by this run" in line
    assert ", such as x/0" in line


def test_a_test_of_images_that_nobody_knows_is_refused(run):
    assert "Arrays does not tell its test images by their" in refused(run, Arrays(known=False))


def test_arrays_are_compared_by_content(tmp_path, capsys):
    enter(tmp_path, Arrays(first=60))
    assert "2 of 12 test images were trained on" in refused(tmp_path, Arrays(first=60))
    enter(tmp_path / "apart", Arrays())
    go_on(tmp_path / "apart", Arrays())
    assert capsys.readouterr().out == ""


def test_a_run_without_records_is_tested_with_a_note(tmp_path, capsys):
    enter(tmp_path, Arrays(known=False))
    assert not (tmp_path / FOLDER).exists()
    go_on(tmp_path, Arrays(known=False))
    assert "does not tell the images that it was trained on" in capsys.readouterr().out


def test_digits_of_another_seed_or_among_clutter_are_refused(tmp_path):
    enter(tmp_path, Digits(8))
    go_on(tmp_path, Digits(16))
    for other in (Digits(8, split_seed=1), ClutteredDigits(8)):
        assert "test images were trained on" in refused(tmp_path, other)


# --- the record -----------------------------------------------------------------------------------


def test_a_changed_record_is_refused(run, images):
    record_path(run).write_bytes(record_path(run).read_bytes()[:-20])
    for verb in ("test", "fit"):
        assert "is not as it was written" in refused(run, folder_data(images), verb)


def test_a_missing_record_is_refused_unless_the_data_are_as_they_were(run, images):
    record_path(run).unlink()
    go_on(run, folder_data(images))
    go_on(run, folder_data(images), "fit")
    assert record_path(run).exists()
    record_path(run).unlink()
    fill(images, first=100, number=1)
    for verb in ("test", "fit"):
        line = refused(run, folder_data(images), verb)
        assert "the data have changed since: restore the record from a copy" in line


def test_a_checkpoint_elsewhere_finds_the_record_of_its_run(run, images, tmp_path):
    copied = tmp_path / "best.ckpt"
    shutil.copy(run / "checkpoints" / "best.ckpt", copied)
    with pytest.raises(UserError, match="test images were trained on"):
        enter(run, folder_data(images, split_seed=1), "test", copied)
    with pytest.raises(UserError, match="test images were trained on"):
        enter(
            tmp_path / "new",
            folder_data(images, split_seed=1),
            "test",
            run / "checkpoints/best.ckpt",
        )


def test_a_run_from_before_records_keeps_to_splits_that_it_had(tmp_path, images, capsys):
    old = tmp_path / "checkpoints" / "best.ckpt"
    old.parent.mkdir()
    torch.save({}, old)
    for verb in ("test", "fit"):
        line = refused(tmp_path, folder_data(images), verb)
        assert "began before an image's split depended on its content" in line
    go_on(tmp_path, Digits(8))
    fill(tmp_path / "parts" / "train", number=20)
    fill(tmp_path / "parts" / "test", first=300)
    go_on(tmp_path, folder_data(tmp_path / "parts"))
    assert capsys.readouterr().out.count("does not tell the images") == 2


# --- going on -------------------------------------------------------------------------------------


def test_a_run_goes_on_with_the_images_that_it_had(run, images, capsys):
    first = record_path(run)
    fill(images, first=100, number=2)
    (images / "cat" / "0.png").rename(images / "cat" / "zz.png")
    check = go_on(run, folder_data(images), "fit")
    assert "data: 1 renamed since the run began, which goes on with" in capsys.readouterr().out
    assert {one.digest for one in check.record.images} == {
        one.digest for one in check.before.images
    }
    assert first.exists()
    assert len(list((run / FOLDER).iterdir())) == 2
    go_on(run, folder_data(images))


def test_a_datamodule_that_cannot_keep_its_images_is_refused_when_they_change(tmp_path):
    enter(tmp_path, Arrays())
    go_on(tmp_path, Arrays(), "fit")
    line = refused(tmp_path, Arrays(first=3), "fit")
    assert "not those of the run to continue (6 added, 6 removed" in line


@pytest.mark.parametrize("verb", ["test", "fit"])
def test_other_classes_are_refused_by_name(run, images, verb):
    fill(images, kinds=("bird",))
    assert "the class 'bird', which it was not trained on" in refused(
        run, folder_data(images), verb
    )


# --- the search -----------------------------------------------------------------------------------


def searched(tmp_path, inner, **module):
    """An arch.json beside the record of the search that found it."""
    check = enter(tmp_path / "search", inner, **module)
    block = BlockChoice("mbconv3", 3, 0.25, "none", 1.0, 0)
    found = counted_arch(SPACE, Arch((block, block)))
    told = DataDescription(tuple("0123456789"), check.record.digest)
    write_arch(tmp_path / "search" / "arch.json", dataclasses.replace(found, data=told))
    return tmp_path / "search" / "arch.json"


def test_images_that_the_search_trained_on_are_no_test(tmp_path, images, capsys):
    arch = searched(tmp_path, folder_data(images, split_seed=1))
    run = tmp_path / "run"
    enter(run, folder_data(images), learned_from=[str(arch)])
    told = capsys.readouterr().out
    assert f"in another split since {arch}" in told
    both = set(files(images, "test")) & set(files(images, "weights", "reward", split_seed=1))
    assert f"note: {len(both)} of {len(files(images, 'test'))} test images were trained on" in told
    line = refused(run, folder_data(images))
    assert f"{len(both)} of {len(files(images, 'test'))} test images were trained on" in line


def test_the_same_data_as_the_search_are_tested(tmp_path, images, capsys):
    arch = searched(tmp_path, folder_data(images))
    enter(tmp_path / "run", folder_data(images), learned_from=[str(arch)])
    go_on(tmp_path / "run", folder_data(images))
    assert capsys.readouterr().out == ""


def test_what_a_search_owes_to_others_is_no_test_on_the_same_data_either(tmp_path, images):
    enter(tmp_path / "teacher", folder_data(images, split_seed=1))
    teacher = tmp_path / "teacher" / "checkpoints" / "best.ckpt"
    arch = searched(tmp_path, folder_data(images), learned_from=[str(teacher)])
    enter(tmp_path / "run", folder_data(images), learned_from=[str(arch)])
    assert "test images were trained on" in refused(tmp_path / "run", folder_data(images))


def test_first_weights_bring_their_images_along(tmp_path, images):
    enter(tmp_path / "first", folder_data(images, split_seed=1))
    weights = tmp_path / "first" / "checkpoints" / "best.ckpt"
    enter(tmp_path / "run", folder_data(images), learned_from=[str(weights)])
    assert "test images were trained on" in refused(tmp_path / "run", folder_data(images))


def test_a_search_whose_record_is_gone_is_told(tmp_path, images, capsys):
    arch = searched(tmp_path, folder_data(images, split_seed=1))
    moved = tmp_path / "arch.json"
    arch.rename(moved)
    enter(tmp_path / "run", folder_data(images), learned_from=[str(moved)])
    assert f"note: the record of the images behind {moved}" in capsys.readouterr().out
