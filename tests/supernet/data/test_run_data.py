"""The datamodule of a run in a Trainer: its parts, its hooks, and on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from supernet.data.digits import Digits
from supernet.data.run_data import RunData
from supernet.data_description import DataDescription
from supernet.errors import UserError
from tests.helpers.recorded_runs import Inner, Noisy, Paired, fit, noisy_loader, searching

# A resumed run finds its own checkpoints.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def test_overfitting_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="overfit_batches"):
        fit(tmp_path, searching(), overfit_batches=2)


def test_a_search_trains_on_the_weights_part_and_never_asks_for_the_test_split(
    tmp_path: Path,
) -> None:
    data = searching()
    module = fit(tmp_path, data, max_epochs=1)
    assert len(module.seen) == 7
    assert sum(module.validated[-3:]) == 10
    with pytest.raises(RuntimeError, match="search never reads the test split"):
        pl.Trainer(logger=False, accelerator="cpu").test(module, data)
    assert "test_dataloader" not in data.inner.calls


def test_retraining_trains_on_all_training_images(tmp_path: Path) -> None:
    assert len(fit(tmp_path, RunData(Paired(), "retrain", 0), max_epochs=1).seen) == 10
    assert len(RunData(Paired(), "retrain", 0).test_dataloader().dataset) == 12


def test_a_datamodule_without_a_reward_part_has_a_tenth_held_out(tmp_path: Path) -> None:
    data = RunData(Inner(), "search", 0, reward_batch_size=4)
    trained = [image[::2] for image in fit(tmp_path, data, max_epochs=1).seen]
    rewarded = data.reward_batch(0, rank=0)[0][:, 0].tolist()
    assert len(trained) == 9
    assert len(set(rewarded)) == 4
    assert not set(rewarded) & set(chain(*trained))


@pytest.mark.parametrize("order", [range(8), [5, 6, 0, 7, 7, 2]])
def test_a_reward_batch_is_a_function_of_its_step(order: Any) -> None:
    expected = [RunData(Paired(), "search", 0).reward_batch(step, 0)[0] for step in range(8)]
    assert len({tuple(batch.flatten().tolist()) for batch in expected}) == 8
    data = RunData(Paired(), "search", 0)
    for step in order:
        assert torch.equal(data.reward_batch(step, 0)[0], expected[step])


class Labelled(Dataset):
    """Images that keep their labels."""

    def __init__(self, targets: Any) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("labels are known without an image")


def with_labels(train: Any = (0, 1), val: Any = (0, 1), test: Any = (0, 1)) -> RunData:
    inner = Inner()
    for split, targets in {"train": train, "val": val, "test": test}.items():
        loader = DataLoader(Labelled(targets))
        setattr(inner, f"{split}_dataloader", lambda loader=loader: loader)
    inner.num_classes = 2
    return RunData(inner, "retrain", 0)


@pytest.mark.parametrize("train", [[1] * 5, torch.ones(5), Subset(Labelled([0, 1, 1]), [1, 2])])
def test_training_images_of_one_class_are_refused(train: Any) -> None:
    data = with_labels(train)
    if isinstance(train, Subset):
        data.inner.train_dataloader = lambda: DataLoader(train)
    with pytest.raises(UserError, match=r"all \d training images have the label 1"):
        data.setup("fit")
    data.setup("test")


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("label", [-1, 2])
def test_labels_of_no_class_are_refused(split: str, label: int) -> None:
    data = with_labels(**{split: [0, label, 1]})
    with pytest.raises(UserError, match=f"has the label {label}, but the datamodule has num_cl"):
        data.setup("test" if split == "test" else "fit")


@pytest.mark.parametrize("targets", [["cat", "dog"], [{"boxes": []}, {}], [[0, 1], [1, 0]]])
def test_labels_that_are_no_numbers_are_left_to_the_training(targets: Any) -> None:
    with_labels(targets).setup("fit")


def test_validation_and_test_images_may_be_of_one_class() -> None:
    data = with_labels(val=[1, 1], test=[0, 0])
    data.setup("fit")
    data.setup("test")


def on_processes(number: int) -> Any:
    data = RunData(Paired(), "retrain", 0)
    data.trainer = Mock(world_size=number, global_rank=0)
    return data


def test_images_too_few_for_the_processes_are_refused_before_any_is_read(capsys: Any) -> None:
    on_processes(10).setup("fit")
    with pytest.raises(UserError, match="40 images are fewer than one batch of 44"):
        on_processes(11).setup("fit")
    small = on_processes(8)
    small.inner.val_dataloader = lambda: noisy_loader(7)
    with pytest.raises(UserError, match="7 images to evaluate on are fewer than 8 processes"):
        small.setup("fit")
    small.trainer.limit_val_batches = 0
    small.setup("fit")


def test_a_search_without_validation_images_is_refused() -> None:
    data = searching()
    data.inner.val_dataloader = lambda: DataLoader(Noisy(0))
    with pytest.raises(UserError, match="there are no validation images to choose"):
        data.setup("fit")


def said(data: RunData, stage: str, capsys: Any) -> list[str]:
    capsys.readouterr()
    data.setup(stage)
    return capsys.readouterr().out.splitlines()


def test_the_first_line_says_the_images_of_each_split(capsys: Any) -> None:
    digits = "data: 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9); "
    sizes = {"search": "1,080 weights, 179 reward", "retrain": "1,259 training"}
    for role, training in sizes.items():
        lines = said(RunData(Digits(), role, 0), "fit", capsys)
        expected = f"{training}, 179 validation, 359 test images, read at 16 px"
        assert lines == [digits + expected]
    lines = said(RunData(Digits(), "retrain", 0), "test", capsys)
    assert lines == [digits + "359 test images, read at 16 px"]
    lines = said(RunData(Digits(), "retrain", 0), "validate", capsys)
    assert lines == [digits + "179 validation, 359 test images, read at 16 px"]


def test_the_first_line_of_a_datamodule_that_tells_little(capsys: Any) -> None:
    data = RunData(Inner(), "retrain", 0)
    line, note = said(data, "fit", capsys)
    assert line == "data: 2 classes (0, 1); 40 training, 10 validation images, read at 100 px"
    assert note.startswith("note: Inner does not tell its images by their content")
    assert "test_dataloader" not in data.inner.calls


def test_many_classes_are_counted_and_not_named(capsys: Any) -> None:
    inner = Inner()
    inner.num_classes = 1000
    data = RunData(inner, "retrain", 0)
    assert said(data, "test", capsys) == ["data: 1,000 classes; 12 test images, read at 100 px"]


def test_hooks_reach_the_datamodule(tmp_path: Path) -> None:
    data = searching()
    fit(tmp_path, data, max_epochs=1)
    assert data.inner.calls == ["setup", "fit", "teardown", "fit"]
    assert data.inner.trainer is data.trainer


def test_batch_hooks_belong_to_the_datamodule_if_it_has_them(tmp_path: Path) -> None:
    class Doubling(Paired):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch[0] * 2, batch[1]

    plain, doubled = (
        fit(tmp_path, RunData(inner, "search", 0), max_epochs=1).seen[0]
        for inner in (Paired(), Doubling())
    )
    assert doubled == [2 * value for value in plain]


def test_shape_and_stem_stride_are_the_datamodules() -> None:
    data = RunData(Inner(), "search", 0)
    assert (data.num_classes, data.resolution, data.stem_stride) == (2, 100, 2)
    inner = Inner()
    inner.stem_stride = 4
    assert RunData(inner, "search", 0).stem_stride == 4


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("num_classes", "Mine must have integers num_classes and resolution .* got None and 100"),
        ("resolution", "Mine must have integers num_classes and resolution .* got 2 and None"),
        ("train_dataloader", r"Mine lacks train_dataloader\(\)"),
        ("val_dataloader", r"Mine lacks val_dataloader\(\)"),
        ("test_dataloader", r"Mine lacks test_dataloader\(\)"),
    ],
)
def test_what_a_datamodule_lacks_is_named(missing: str, line: str) -> None:
    nothing = getattr(pl.LightningDataModule, missing, None)
    mine = type("Mine", (Paired,), {missing: nothing})
    with pytest.raises(UserError, match=line) as error:
        RunData(mine(), "retrain", 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("half", ["weights_dataloader", "reward_dataloader"])
def test_half_of_the_optional_pair_is_refused(half: str) -> None:
    mine = type("Mine", (Inner,), {half: getattr(Paired, half)})
    with pytest.raises(UserError, match="Mine has only one of"):
        RunData(mine(), "search", 0)


def test_digits_run_through_a_search(tmp_path: Path) -> None:
    data = RunData(Digits(resolution=8), "search", 0, reward_batch_size=32)
    module = fit(tmp_path, data, max_epochs=1)
    assert len(module.seen) == len(Digits().weights_dataloader())
    images, labels = data.reward_batch(3, rank=0)
    assert images.shape == (32, 3, 8, 8)
    assert labels.shape == (32,)


def test_a_datamodule_tells_its_classes_or_they_are_numbers() -> None:
    inner: Any = Inner()
    numbers = tuple(map(str, range(inner.num_classes)))
    assert RunData(inner, "search", 0).classes == numbers
    inner.description = DataDescription(tuple(f"class {n}" for n in numbers))
    data = RunData(inner, "search", 0)
    assert data.classes == data.description.classes == inner.description.classes


@pytest.mark.parametrize(
    ("description", "line"),
    [
        ("photos of birds", r"Inner.description is 'photos of birds', it must be a .*Description"),
        (DataDescription(("a", "b", "c")), "names 3 classes, but num_classes is"),
    ],
)
def test_a_description_of_something_else_is_refused_before_anything_long(
    description: Any, line: str
) -> None:
    inner: Any = Inner()
    inner.description = description
    with pytest.raises(UserError, match=line):
        RunData(inner, "search", 0)


TWO_PROCESSES = """
import sys
import pytorch_lightning as pl
from tests.helpers.recorded_runs import Recorder, searching

module = Recorder(None, estimates=False)
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False,
                     enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(module, searching())
shards = [batch[0].tolist() for batch in trainer.datamodule.val_dataloader()]
with open(f"{sys.argv[1]}/{trainer.global_rank}.txt", "w") as file:
    print([batch[::2] for batch in module.seen], [row[0] for shard in shards for row in shard],
          sep="\\n", file=file)
"""


@pytest.mark.slow
def test_two_processes_share_the_images_between_them(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path}, timeout=120)
    lines = [(tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2)]
    trained = [list(chain(*json.loads(line[0]))) for line in lines]
    assert [len(indices) for indices in trained] == [12, 12]  # 3 batches of 4 out of 28 images
    assert not set(trained[0]) & set(trained[1])
    evaluated = [json.loads(line[1]) for line in lines]
    assert evaluated == [list(range(0, 10, 2)), list(range(1, 10, 2))]
