"""Runs on numbered samples, which write down what they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.data.run_data import RunData


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
