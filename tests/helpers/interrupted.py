"""What tests of stopped and continued trainings share."""

import hashlib
import json
import signal
import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from tests.helpers import preloaded

ROOT = Path(__file__).parents[2]
SIGNALS = [signal.SIGKILL, signal.SIGTERM]


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_weights(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


class Kill(pl.Callback):
    """Ends a run as a signal would: before the batch of a step, with no word to anyone."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def wait_for_lines(path, number, process):
    """Until a file has as many lines, or the process has ended."""
    for _ in range(1200):
        if path.exists() and path.read_bytes().count(b"\n") >= number:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("nothing was kept")


def stopped_and_continued(module, options, path, least, how):
    """What a command prints and keeps that was stopped by a signal and typed again.

    Args:
        module: what ``python -m`` runs.
        options: of it.
        path: the file in which it keeps a line of each finished piece.
        least: so many lines are waited for.
        how: the signal.

    Returns:
        The number of lines kept by the stopped one, the output of the other, and all rows.
    """
    process = preloaded.Command(module, *options)
    wait_for_lines(path, least, process)
    process.send_signal(how)
    _, errors = process.communicate()
    if how == signal.SIGTERM:
        assert process.returncode == 143
        assert errors == "stopped by SIGTERM: go on with the same command\n"
    kept = path.read_bytes()
    done = preloaded.run(module, *options)
    done.check_returncode()
    assert path.read_bytes().startswith(kept)
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    return len(kept.splitlines()), done.stdout, rows


def tensors(value, prefix=""):
    """All tensors and numbers within a nested structure, with their places."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from tensors(value[key], f"{prefix}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors(item, f"{prefix}.{index}")
    elif isinstance(value, torch.Tensor):
        yield prefix, value.numpy().tobytes()
    else:
        yield prefix, repr(value).encode()


def state_hash(run, checkpoint="last"):
    """Of weights, of a search's controller and baseline, and of all optimizers."""
    content = torch.load(run / "checkpoints" / f"{checkpoint}.ckpt", weights_only=False)
    names = ("state_dict", "current_model_state", "optimizer_states", "search", "steps_done")
    state = {name: content[name] for name in names if name in content}
    digest = hashlib.sha256()
    for place, content in tensors(state):
        digest.update(place.encode() + content)
    return digest.hexdigest()


def lines(path):
    return path.read_text().splitlines() if path.exists() else []
