"""MovingAverage: the average of a network's weights, which is what is evaluated and shipped."""

import itertools
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, distributed, nn


class MovingAverage:
    """Keeps the exponential moving average of weights and batch-norm statistics.

    Waits for no device: torch's ``AveragedModel`` reads the number of updates from it three times a
    step, and groups all tensors anew, which takes ten times as long as averaging them.
    """

    def __init__(self, decay: float, average: nn.Module, source: nn.Module) -> None:
        """Keep that of ``source`` in ``average``, a copy of it, which both stay on their device.

        The decay is warmed up as in TensorFlow (``ExponentialMovingAverage(num_updates=...)``, as
        the official code uses it): the average of a short training is not that of its first steps.
        """
        self.decay = decay
        pairs = [*zip(_tensors(average), _tensors(source), strict=True)]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._averages, self._values = _unzipped(floats)
        self._counters, self._counts = _unzipped(others)

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move the average towards the source, after so many updates; the first one copies it."""
        if num_updates:
            weight = 1 - min(self.decay, (1 + num_updates) / (10 + num_updates))
            torch._foreach_lerp_(self._averages, self._values, weight)
        else:
            torch._foreach_copy_(self._averages, self._values)
        if self._counters:  # whole numbers have no average
            torch._foreach_copy_(self._counters, self._counts)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [one.detach() for one in itertools.chain(module.parameters(), module.buffers())]


def _unzipped(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


class WeightEma(WeightAveraging):
    """Exponential moving average of weights and batch-norm statistics, for all but training.

    Differs from Lightning's ``EMAWeightAveraging`` in what ``MovingAverage`` says, and in two ways
    more. It lies on the device of training, where Lightning leaves it on the CPU. And a test that
    follows ``fit`` in one process loads the average from a checkpoint, not the weights that were
    being trained.

    Ranks average batch-norm statistics of their own images, and a validation takes the mean of all:
    a checkpoint holds those of every rank.
    """

    def __init__(self, decay: float, device: torch.device) -> None:
        super().__init__(device=device)
        self.decay = decay
        self._moving: MovingAverage | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the network, and count the updates where no device is waited for."""
        super().setup(trainer, pl_module, stage)
        self._moving = None
        if self._average_model is not None:
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Average after each step of the optimizer."""
        if trainer.global_step <= self._latest_update_step:
            return
        assert self._average_model is not None
        if self._moving is None:  # by now all tensors are where they stay
            self._moving = MovingAverage(self.decay, self._average_model.module, pl_module)
        self._moving.update(int(self._average_model.n_averaged))
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore both sets of weights to go on training; evaluation has loaded the average."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        of_ranks = checkpoint.get("averaged_buffers", [])
        if len(of_ranks) == trainer.world_size:
            for name, buffer in self._buffers.items():
                buffer.copy_(of_ranks[trainer.global_rank][name])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the statistics of all ranks to the average of the first."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if trainer.world_size > 1 and self._average_model is not None:
            of_ranks: list[Any] = [None] * trainer.world_size
            mine = {name: buffer.cpu() for name, buffer in self._buffers.items()}
            distributed.all_gather_object(of_ranks, mine)
            checkpoint["averaged_buffers"] = of_ranks

    @property
    def _buffers(self) -> dict[str, Tensor]:
        assert self._average_model is not None
        return dict(self._average_model.module.named_buffers())
