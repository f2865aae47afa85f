"""The datamodule of a run in a Trainer: interrupted, resumed, and on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.data import Digits
from supernet.errors import UserError
from supernet.rundata import RunData

# A resumed run finds its own checkpoints.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Noisy(Dataset):
    """Sample i is i and a number from torch's global generator; its label is i modulo 2."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([index, torch.rand(()).item()]), index % 2


def noisy_loader(size: int = 40, num_workers: int = 0) -> DataLoader:
    return DataLoader(Noisy(size), batch_size=4, shuffle=True, num_workers=num_workers)


class Inner(pl.LightningDataModule):
    """A user's datamodule without the optional pair."""

    num_classes, resolution = 2, 100

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def setup(self, stage: str) -> None:
        self.calls += ["setup", stage]

    def teardown(self, stage: str) -> None:
        self.calls += ["teardown", stage]

    def train_dataloader(self) -> DataLoader:
        return noisy_loader()

    def val_dataloader(self) -> DataLoader:
        return noisy_loader(10)

    def test_dataloader(self) -> DataLoader:
        self.calls.append("test_dataloader")
        return noisy_loader(12)


class Paired(Inner):
    """With the pair; the parts differ in size, so that they can be told apart."""

    def weights_dataloader(self) -> DataLoader:
        return noisy_loader(28)

    def reward_dataloader(self) -> DataLoader:
        return noisy_loader(12)


class Recorder(pl.LightningModule):
    """Counts its steps and writes down what it is trained on."""

    def __init__(self, stop_after: int | None, estimates: bool) -> None:
        super().__init__()
        self.estimates = estimates
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.steps_done = 0
        self.stop_after = stop_after
        self.seen: list[list[float]] = []
        self.validated: list[int] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.steps_done == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(batch[0].flatten().tolist())
        self.steps_done += 1
        return self.weight * 0

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.validated.append(len(batch[0]))

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        raise AssertionError("tested")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.estimates:  # then Lightning asks for the loader before it restores the loops
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["steps_done"] = self.steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps_done = checkpoint["steps_done"]


def fit(
    folder: Path,
    data: pl.LightningDataModule,
    *,
    resume: str | None = None,
    stop_after: int | None = None,
    estimates: bool = True,
    **settings: Any,
) -> Recorder:
    module = Recorder(stop_after, estimates)
    checkpoints = pl.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
    trainer = pl.Trainer(
        **{"max_epochs": 3, **settings},
        callbacks=[checkpoints],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, data, ckpt_path=resume)
    except SystemExit:
        assert stop_after is not None
    return module


def searching(seed: int = 0) -> RunData:
    return RunData(Paired(), "search", seed)  # 7 batches an epoch


def assert_resumes_exactly(
    folder: Path, data: Callable[[], RunData], stop_after: int, **settings: Any
) -> Recorder:
    """Compares a run that is cut and resumed with a whole one, which it returns."""
    whole = fit(folder / "whole", data(), **settings)
    first = fit(folder / "cut", data(), stop_after=stop_after, **settings)
    second = fit(folder / "cut", data(), resume=str(folder / "cut/last.ckpt"), **settings)
    assert len(first.seen) == stop_after
    assert first.seen + second.seen == whole.seen
    assert first.validated + second.validated == whole.validated
    assert len({tuple(batch) for batch in whole.seen}) == len(whole.seen)
    return whole


@pytest.mark.parametrize("stop_after", [1, 6, 7, 8, 13, 20])
def test_a_run_that_is_resumed_sees_the_batches_that_were_left(
    tmp_path: Path, stop_after: int
) -> None:
    assert_resumes_exactly(tmp_path, searching, stop_after)


@pytest.mark.parametrize("limit", [5, 0.8])
@pytest.mark.parametrize("stop_after", [3, 5, 6])
def test_a_run_of_shortened_epochs_is_resumed_exactly(
    tmp_path: Path, stop_after: int, limit: float
) -> None:
    whole = assert_resumes_exactly(tmp_path, searching, stop_after, limit_train_batches=limit)
    assert len(whole.seen) == 3 * 5  # 3 epochs of 5 instead of 7 batches


def test_a_loader_that_lightning_restores_is_resumed_exactly(tmp_path: Path) -> None:
    assert_resumes_exactly(tmp_path, searching, 10, estimates=False)


def test_what_workers_fetched_ahead_is_not_lost_in_a_resume(tmp_path: Path) -> None:
    class Ahead(Paired):
        def weights_dataloader(self) -> DataLoader:
            return noisy_loader(28, num_workers=2)

    assert_resumes_exactly(tmp_path, lambda: RunData(Ahead(), "search", 0), 10, max_epochs=2)


def test_a_resume_from_an_older_checkpoint_repeats_the_steps_since_then(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", searching())
    fit(tmp_path / "cut", searching(), stop_after=10)
    kept = (tmp_path / "cut/last.ckpt").rename(tmp_path / "kept.ckpt")
    fit(tmp_path / "cut", searching(), resume=str(kept), stop_after=12)
    assert fit(tmp_path / "cut", searching(), resume=str(kept)).seen == whole.seen[10:]


def test_a_run_that_ended_can_be_continued_for_more_epochs(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", searching())
    first = fit(tmp_path / "cut", searching(), max_epochs=2)
    second = fit(tmp_path / "cut", searching(), resume=str(tmp_path / "cut/last.ckpt"))
    assert first.seen + second.seen == whole.seen


def test_a_run_that_is_resumed_with_another_seed_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, searching(), stop_after=4)
    with pytest.raises(UserError, match="had seed 0, now it is 1"):
        fit(tmp_path, searching(seed=1), resume=str(tmp_path / "last.ckpt"))


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


TWO_PROCESSES = """
import sys
import pytorch_lightning as pl
from tests.test_rundata import Recorder, searching

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
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path}, timeout=120)
    lines = [(tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2)]
    trained = [list(chain(*json.loads(line[0]))) for line in lines]
    assert [len(indices) for indices in trained] == [12, 12]  # 3 batches of 4 out of 28 images
    assert not set(trained[0]) & set(trained[1])
    evaluated = [json.loads(line[1]) for line in lines]
    assert evaluated == [list(range(0, 10, 2)), list(range(1, 10, 2))]
