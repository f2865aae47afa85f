"""Quantization-aware training: a trained network goes on training while it is rounded to int8.

Jacob et al. 2018, section 3, by torchao's pt2e and XNNPACK's quantizer, which files of ExecuTorch
and torch.export are made of. The network in floats teaches its rounded self its logits (Ba and
Caruana 2014, "Do deep nets really need to be deep?", section 2): labels have nothing to add that it
has not learned, and logits stay near those that were tested.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional

from retrain.export.formats.shipment import Shipment
from retrain.export.quantization import BATCH_SIZE
from supernet.command.output import ProgressLines
from supernet.data.resumable import StepLoader, resumable
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.training.config import read_training
from supernet.training.recipe import Recipe

SHARE = 0.05
"""Steps, over those of the training before."""
LEAST_STEPS = 40
"""However short that training was."""
LR_SHARE = 0.01
"""Learning rate at the first step, over the recipe's peak; it falls to 0 as half a cosine. Picked
on one network of cluttered digits, where ten times as much left logits four times as far off."""
OWN_EPS = 1e-5
"""What torchao takes the eps of batch norms for when it folds those that were trained."""
MAX_CONVERTED_DIFFERENCE = 0.05
"""Of logits, over their length (L2), between the network that was trained and its int8 form."""
_BATCH_NORM = torch.ops.aten.batch_norm.default
_TRAINING, _EPS = 5, 7
"""Places of its arguments."""


@dataclass(frozen=True)
class QuantizedTraining:
    """How a network is trained to be rounded: its run's recipe, gently."""

    recipe: Recipe
    """Of the run; its learning rate is the peak of that training."""
    num_steps: int

    @property
    def gentle(self) -> Recipe:
        """The run's recipe, with a small learning rate."""
        return replace(self.recipe, lr=LR_SHARE * self.recipe.lr, schedule="cosine", warmup=0.0)

    def run(self, prepared: GraphModule, network: nn.Module, data: RunData) -> None:
        """Train a network, on the same images in the same order each time.

        Args:
            prepared: by ``fake_quantized``.
            network: in floats, which teaches.
            data: of the run, set up to fit.

        Raises:
            UserError: when the loss is not finite.
        """
        recipe = self.gentle
        batches = batches_of(recipe, data)
        optimizer = recipe.make_optimizer(prepared, batches.sampler.global_batch_size)
        schedule = recipe.make_schedule(optimizer, self.num_steps, len(batches))
        with ProgressLines() as lines, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            task = lines.add_task("int8 training", total=self.num_steps, status="")
            for step, batch in enumerate(itertools.islice(batches.endless(), self.num_steps)):
                schedule.step_update(step)
                images = data.moved(batch, torch.device("cpu"))[0]
                with torch.no_grad():
                    answers = network(images)
                # Probabilities say nothing of logits where the network is sure.
                loss = functional.mse_loss(prepared(images), answers)
                _check_finite(loss, step)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                lines.update(task, advance=1, status=f"loss {loss:.4f}")
        _stop_observing(prepared)


def training_of(config: Path, data: RunData, trusted: Sequence[str] = ()) -> QuantizedTraining:
    """What follows the training that a run's ``config.yaml`` describes.

    Args:
        config: the file.
        data: of the run, set up to fit.
        trusted: modules, besides ours, that it may name classes of.

    Raises:
        UserError: when it does not describe a training.
    """
    before = read_training(config, trusted)
    steps = before.num_steps(len(batches_of(before.recipe, data)))
    return QuantizedTraining(before.recipe, max(LEAST_STEPS, round(SHARE * steps)))


def batches_of(recipe: Recipe, data: RunData) -> StepLoader:
    """Training images as the recipe augments them, always in the same order."""
    augmented = partial(recipe.augmentation.of_images, told=data.preprocessing)
    return resumable(data.inner.train_dataloader(), seed=0, view=augmented)


def fake_quantized(shipment: Shipment) -> GraphModule:
    """A trained network that rounds weights and features as int8 does, and still learns.

    Batch norms keep their statistics: on those of single batches the network would be another.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    program = replace(shipment, network=_with_own_eps(shipment.network)).program()
    prepared = prepare_qat_pt2e(program.module(), _quantizer())
    for node in prepared.graph.nodes:
        if node.target == _BATCH_NORM:
            # torchao makes all norms anew, in training mode and of its own eps.
            assert node.args[_EPS] == OWN_EPS, "torchao has another eps of its own"
            node.args = (*node.args[:_TRAINING], False, *node.args[_TRAINING + 1 :])
    prepared.recompile()
    return prepared


def converted(prepared: GraphModule) -> nn.Module:
    """The network in int8, which computes what ``prepared`` does but for the order of additions."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    return convert_pt2e(copy.deepcopy(prepared))


@torch.no_grad()
def conversion_failure(prepared: GraphModule, small: nn.Module, images: Tensor) -> str:
    """Why a network in int8 is not what was trained, on images (N, 3, R, R), or empty."""
    found, expected = (
        torch.cat([network(batch) for batch in images.split(BATCH_SIZE)])
        for network in (small, prepared)
    )
    difference = ((found - expected).norm() / expected.norm()).item()
    if difference <= MAX_CONVERTED_DIFFERENCE:
        return ""
    return (
        f"logits in int8 differ by {difference:.1%} of their length from those that were trained"
        f" (allowed {MAX_CONVERTED_DIFFERENCE:.0%})"
    )


def _with_own_eps(network: nn.Module) -> nn.Module:
    """The same function with torchao's eps: what is lacking goes to the variances."""
    same = copy.deepcopy(network)
    for module in same.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var += module.eps - OWN_EPS
            module.eps = OWN_EPS
    return same


def _quantizer() -> Any:
    """XNNPACK's quantizer, whose ranges of weights are those of the weights at each step."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.fake_quantize import FakeQuantize
    from torchao.quantization.pt2e.observer import MovingAveragePerChannelMinMaxObserver

    config = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    # Its own way of training lets ranges lag behind the weights, and takes channels whose weights
    # all have one sign for unsigned, which conversion does not: logits are then 6 % off.
    rounding = FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=2**-12
    )
    weight = replace(config.weight, observer_or_fake_quant_ctr=rounding)
    quantizer = XNNPACKQuantizer()
    quantizer.set_global(replace(config, weight=weight))
    return quantizer


def _check_finite(loss: Tensor, step: int) -> None:
    if not loss.isfinite():
        raise UserError(
            f"the loss of the training in int8 is {float(loss)} at step {step}: leave --quantize"
            " qat out, or give --quantize int8"
        )


def _stop_observing(prepared: GraphModule) -> None:
    """Keep the ranges of features as they are."""
    from torchao.quantization.pt2e.fake_quantize import FakeQuantize

    for module in prepared.modules():
        if isinstance(module, FakeQuantize):
            module.disable_observer()
