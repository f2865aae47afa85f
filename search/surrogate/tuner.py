"""Tuner: trains one network after the other for a few steps, in a search's process or beside it."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from pytorch_lightning.plugins.precision import Precision

from search.evaluation.frozen_supernet import tune
from search.evaluation.int8_accuracy import int8_accuracy
from search.evaluation.jobs import Row
from search.loss import SearchLoss
from search.settings import WeightOptimizer
from search.surrogate.batches import Batches
from supernet.errors import UserError
from supernet.network.network import Network, recalibrate
from supernet.network.supernet import SuperNet
from supernet.run.folder import CONTINUE
from supernet.space.mnasnet import MnasSpace
from supernet.training.standalone import evaluate


@dataclass(frozen=True)
class Tuner:
    """What tunes networks of a search: a function of its fields.

    It can be sent to another process where its batches can.
    """

    space: MnasSpace
    supernet: SuperNet | None
    """Networks begin with its slices; None where they begin afresh."""
    seed: int
    """Of what begins afresh."""
    weights: WeightOptimizer
    loss: SearchLoss
    precision: Precision
    """Lightning's."""
    device: torch.device
    memory_format: torch.memory_format
    batches: Batches

    def ready(self) -> Callable[[Row], Row]:
        """What tunes a network, for ``Workers``."""
        return self.tune

    def tune(self, asked: Row) -> Row:
        """What is asked, fields of ``Tunings.CONDITIONS``, with what a network showed.

        Raises:
            UserError: when its loss is not finite.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        steps, label, judged = asked["steps"], asked["label_steps"], asked["judged"]
        network, batches = self._network(asked["code"]), self.batches.training(steps)
        course = tune(network, batches, self.weights, steps, False, self._context, self.loss)
        half = steps // 2
        found = {
            "loss": float(course.losses[half:].mean()),
            "accuracy": float(course.accuracies[half:].mean()),
        }
        if not math.isfinite(found["loss"]):
            raise UserError(
                f"the loss of a network that was tuned for {steps} steps is {found['loss']}: mend"
                f" the images and go on with {CONTINUE}, or start anew with a lower"
                " model.weights.lr"
            )
        if 0 < label <= steps:
            found["label_accuracy"] = float(course.accuracies[label // 2 : label].mean())
        if judged:
            found["val_accuracy"] = self._validation_accuracy(network, asked["images"])
        if judged == "int8":
            found["int8_accuracy"] = int8_accuracy(
                network, self.batches.statistics, self.batches.validation()
            )
        found["seconds"] = time.perf_counter() - wall
        found["cpu_seconds"] = time.process_time() - cpu
        return asked | found

    def _network(self, code: Sequence[int]) -> Network:
        arch = self.space.decode(code)
        if self.supernet:
            network = self.supernet.extract(arch)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = Network(self.space.spec(arch))
        return network.to(self.device).to(memory_format=self.memory_format)

    def _context(self) -> AbstractContextManager[object]:
        return tuning_precision(self.precision)

    def _validation_accuracy(self, network: Network, images: int) -> float:
        with self.precision.forward_context():
            recalibrate(network, (batch[0] for batch in self.batches.statistics(images)))
            return float(evaluate(network, self.batches.validation()).accuracy)


def tuning_precision(plugin: Precision) -> AbstractContextManager[object]:
    """The context of a tuning's forward pass."""
    # float16 would need its losses scaled.
    bf16 = plugin.precision == "bf16-mixed"
    context: AbstractContextManager[object] = plugin.forward_context() if bf16 else nullcontext()
    return context
