"""How one network is trained from scratch: optimizer, schedule, loss and average of the weights.

``retrain`` runs this recipe, and so does whatever ranks networks by training each of them alone.
"""

import copy
import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from supernet.data.resumable import resumable
from supernet.data.splits import labels_of
from supernet.data_description import Preprocessing
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.training.recipe import Recipe, check_batch_size
from supernet.training.weight_average import MovingAverage


def train_alone(
    spec: NetSpec,
    recipe: Recipe,
    loader: DataLoader[Any],
    seed: int,
    num_steps: int,
    told: Preprocessing | None = None,
) -> Network:
    """Train one network from scratch in this process, as a retraining does, without its overhead.

    A function of the arguments: neither earlier draws nor this process's state change the result,
    and torch's global generator is as it was afterwards.

    ``spec`` has the data's resolution and classes. ``seed``, not negative, is that of weights,
    augmentation, dropout and the order of the images, which replaces the loader's. ``told`` is how
    images are normalised, which the recipe's augmentation may have to know.

    Returns:
        The network in eval mode; its weights are the recipe's average, if it has one.
    """
    batches = resumable(loader, seed, view=lambda own: recipe.augmentation.of_images(own, told))
    weights = recipe.weights_of(lambda: labels_of(loader.dataset), spec.classes)
    check_batch_size(batches.sampler.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recipe.make_network(spec).train()
        optimizer = recipe.make_optimizer(network, batches.sampler.global_batch_size)
        schedule = recipe.make_schedule(optimizer, num_steps, len(batches))

        def forward(images: Tensor) -> Tensor:
            return network(images.contiguous(memory_format=torch.channels_last))

        averaged = copy.deepcopy(network) if recipe.ema_decay else network
        average = MovingAverage(recipe.ema_decay, averaged, network)
        for step, batch in enumerate(itertools.islice(batches.endless(), num_steps)):
            schedule.step_update(step)
            recipe.batch_loss(forward, batch, spec.classes, weights).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if averaged is not network:
                average.update(step)
    return averaged.eval()


class Evaluation(NamedTuple):
    """Accuracy and losses of a network on some images."""

    accuracy: float
    """Share of correct answers."""
    loss: float
    """Mean cross-entropy, in nats."""
    probability: float
    """Mean probability of the right class."""
    soft_accuracy: float
    """Mean of ``soft_accuracies``."""


def right_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the right class of each image, (B,), from logits (B, classes)."""
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


SHARPNESS = 4.0
"""Factor of the logits in a soft accuracy. At 1 shared weights, which are sure of nothing, make all
networks nearly alike, so that a reward would be of cost alone; the more it is, the nearer to the
accuracy and its noise (docs/lab-notebook.md)."""


def soft_accuracies(logits: Tensor, labels: Tensor) -> Tensor:
    """Right (1), wrong (0) or between, where it is close: (B,), from logits (B, classes)."""
    return right_probabilities(SHARPNESS * logits, labels)


@torch.no_grad()
def evaluate(network: Network, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Evaluate a network in eval mode over batches of images (B, 3, R, R) and labels (B,)."""
    network.eval()
    right = total = 0
    loss = probability = soft = 0.0
    for images, labels in batches:
        # Autocast on CPUs would leave probabilities in bfloat16.
        logits = network(images.contiguous(memory_format=torch.channels_last)).float()
        right += int((logits.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        probability += float(right_probabilities(logits, labels).sum())
        soft += float(soft_accuracies(logits, labels).sum())
        total += len(labels)
    return Evaluation(right / total, loss / total, probability / total, soft / total)
