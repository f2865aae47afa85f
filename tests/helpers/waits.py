"""Waits for a device, as far as a machine without one can see them: reads of single numbers."""

import contextlib
import traceback
from collections import defaultdict
from pathlib import Path

import pytorch_lightning as pl
import torch

READS = ("item", "cpu", "tolist", "__float__")
"""What copies a tensor into host memory as it is called."""


class Reads(pl.Callback):
    """Counts reads of tensors from the start of each weight step to the start of the next."""

    def __init__(self):
        self.places = defaultdict(list)
        """Where tensors were read, by the number of the step."""
        self._step = None

    def on_train_batch_start(self, trainer, pl_module, *_):
        self._step = trainer.global_step

    def on_train_end(self, *_):
        self._step = None

    def note(self, name):
        if self._step is not None:
            frames = [frame for frame in traceback.extract_stack() if __file__ != frame.filename]
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
            self.places[self._step].append(f"{name} in {place}")

    @contextlib.contextmanager
    def counted(self):
        """Have every tensor tell of reads."""
        with contextlib.ExitStack() as stack:
            for name in READS:
                stack.callback(self._watch(name))
            yield self

    def _watch(self, name):
        plain = getattr(torch.Tensor, name)

        def read(tensor, *args, **kwargs):
            self.note(name)
            return plain(tensor, *args, **kwargs)

        had = name in vars(torch.Tensor)
        setattr(torch.Tensor, name, read)
        return lambda: setattr(torch.Tensor, name, plain) if had else delattr(torch.Tensor, name)
