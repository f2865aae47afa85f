"""Measurements behind a plan: real training steps and images, here and now, in a few seconds."""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import repeat
from statistics import fmean

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch.utils.data import default_collate

from search.evaluation.frozen_supernet import channels_last, tune
from search.plan.estimate import Rates
from search.plan.rules import Machine
from search.settings import WeightOptimizer
from supernet.data.image_folder import ImageFolder
from supernet.data.images.image_index import num_cores
from supernet.data.pixels import in_pixels, normalised_batch
from supernet.data.resumable import SeededDataset
from supernet.data.splits import Batch, num_images
from supernet.errors import UserError
from supernet.network.network import Network
from supernet.space.spec import NetSpec
from supernet.training.augmentation import Augmentation, Preset

STEPS, READ = 3, 16
"""Training steps of each network, after a first one that is not counted, and images to read."""


def this_machine() -> Machine:
    """Cores that this process may use, and the GPU if there is one."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return Machine(num_cores(), gpu)


class Measuring:
    """Measures steps on images of a folder.

    Args:
        data: the folder; its resolution does not matter.
        batch: images of a step.
        preset: augmentation of the retraining.
    """

    def __init__(self, data: ImageFolder, machine: Machine, batch: int, preset: Preset) -> None:
        self.data, self.batch, self.augmentation = data, batch, Augmentation(preset)
        self.device = torch.device("cuda" if machine.kind == "gpu" else "cpu")

    def rates(self, specs: Sequence[NetSpec]) -> Rates:
        """What training such networks takes, which are for images of one resolution.

        Raises:
            UserError: when the memory does not hold a step.
        """
        with isolate_rng(include_cuda=False), enough_memory(specs[0].resolution, self.batch):
            data = copy.copy(self.data)
            data.resolution = specs[0].resolution
            read, batch = self._read(data)
            steps = [self._step(spec, batch) for spec in specs]
        build, step, busy = (fmean(values) for values in zip(*steps, strict=True))
        plain, augmented = read
        return Rates(data.resolution, step, build, plain, augmented, max(1.0, busy))

    def _read(self, data: ImageFolder) -> tuple[tuple[float, float], Batch]:
        """Seconds of reading an image as in a tuning and augmented, and a batch."""
        own = in_pixels(data.train_dataloader().dataset)
        places = [(place % num_images(own), place) for place in range(READ)]
        seconds = []
        for images in (own, self.augmentation.of_images(own, data.preprocessing)):
            drawn = SeededDataset(images)
            start = time.perf_counter()
            samples = drawn.__getitems__(places)
            seconds.append((time.perf_counter() - start) / READ)
        batch = default_collate([samples[place % READ] for place in range(self.batch)])
        return (seconds[0], seconds[1]), normalised_batch(batch, data.preprocessing)

    def _step(self, spec: NetSpec, batch: Batch) -> tuple[float, float, float]:
        """Seconds of making a network and of its step, and those of the step over its CPU's."""
        start = time.perf_counter()
        network = Network(spec).to(self.device).to(memory_format=torch.channels_last)
        build = time.perf_counter() - start
        here = [one.to(self.device) for one in channels_last(batch)]

        def steps(number: int) -> None:
            tune(network, repeat((here[0], here[1])), WeightOptimizer(), number, False, self._half)

        steps(1)
        start, worked = time.perf_counter(), time.process_time()
        steps(STEPS)
        seconds = time.perf_counter() - start
        # A GPU leaves its processor idle.
        worked = time.process_time() - worked if self.device.type == "cpu" else seconds
        return build, seconds / STEPS, seconds / worked

    def _half(self) -> AbstractContextManager[object]:
        if self.device.type == "cpu":
            return nullcontext()
        return torch.autocast("cuda", torch.bfloat16)

    def peak_memory(self) -> float:
        """Bytes that the steps have taken at most: of the GPU, else of this whole process."""
        if self.device.type == "cuda":
            return float(torch.cuda.max_memory_allocated())
        unit = 1 if sys.platform == "darwin" else 1024
        return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@contextmanager
def enough_memory(resolution: int, batch: int) -> Iterator[None]:
    """Say in one line that a step does not fit into the memory.

    Raises:
        UserError: for what torch says of it.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise UserError(
            f"a step of {batch} images of {resolution} px does not fit into the memory: give a"
            " smaller --resolution, or a device of more memory"
        ) from None
