"""What every test starts from: one thread, quiet W&B, and nothing left behind."""

import functools
import gc
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from docstring_parser.attrdoc import AttributeDocstrings
from PIL import Image
from torch import nn

from supernet.cost.counts import Cost
from tests.helpers import preloaded

# So that its assertions say what they saw.
pytest.register_assert_rewrite("tests.helpers.interrupted")


def pytest_collection_finish():
    """Modules and tests stay to the end: no search for garbage need go through them again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """What some libraries still hold is theirs to free at the end, or they complain."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _docstrings_once():
    """The parser of each command reads the sources of all settings, for their docstrings."""
    read = functools.cache(AttributeDocstrings().get_attr_docs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttributeDocstrings, "get_attr_docs", lambda _, component: read(component))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk():
    """Files of a killed process are there, written to the disk or not; of power cuts none is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # Tests run beside each other on small machines; more threads only fight.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path_factory):
    """Restore variables that Lightning and W&B leave behind (PL_GLOBAL_SEED among them)."""
    before = dict(os.environ)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    # Of processes that are killed: W&B makes two folders in each.
    (tmp_path_factory.getbasetemp() / "temporary").mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.getbasetemp() / "temporary"))
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


ROOT = Path(__file__).parent.parent
ON_DIGITS = """
data: {class_path: Digits, init_args: {resolution: 8, batch_size: 16}}
threads: 1
model:
  space: {width: 0.1, base_filters: [16, 24, 40], base_layers: [1, 1, 1], strides: [1, 2, 2],
    layers: [0, 1], head: 32}
  cost: macs
  target: p40
"""
"""What both tiny searches are of."""
TINY_SEARCH = (
    ON_DIGITS
    + """\
  sampling: {score: soft_accuracy, every: 2, samples: 4}
  final: {samples: 8, candidates: 2, recalibration_images: 64, tuning_steps: 2, measured: 0}
trainer: {accelerator: cpu, devices: 1, max_steps: 24, max_epochs: -1, log_every_n_steps: 4}
wandb: {mode: disabled}
"""
)


TUNED_SEARCH = (
    ON_DIGITS
    + """\
  sampling: {samples: 4}
  schedule: {share: 0.15}
  surrogate: {networks: 8, first: 4, rounds: 3, updates: 2}
  final: {samples: 8, candidates: 3, recalibration_images: 64, measured: 0}
trainer: {accelerator: cpu, devices: 1, max_steps: 60, max_epochs: -1, log_every_n_steps: 4}
wandb: {mode: disabled}
"""
)


@pytest.fixture(scope="session")
def _percentiles_once():
    """Each tiny search asks for percentiles of the same space, each from 2,000 networks."""
    from search.objective import targets

    quantile, kept = targets.quantile, {}

    def quantile_once(model, space, q):
        asked = model.unit, model.hash, space, q
        if asked not in kept:
            kept[asked] = quantile(model, space, q)
        return kept[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "quantile", quantile_once)
        yield


@pytest.fixture
def _cheap(monkeypatch, _percentiles_once):
    """Figures of a search in this process are made, but not rendered: a second of a few."""
    monkeypatch.setattr("search.figures.save_figure", blank)


@pytest.fixture
def search(monkeypatch, _cheap):
    """Run ``python -m search fit ARGS`` in this process."""
    from search.__main__ import main

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["search", "fit", *map(str, args)])
        main()

    return run


def blank(_, path):
    Image.new("L", (8, 8)).save(path)


@pytest.fixture
def tiny_search(tmp_path, _cheap):
    """A search of seconds: config file and run folder as command-line arguments."""
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_SEARCH)
    return ["-c", str(config), "--run", str(tmp_path / "run")]


@pytest.fixture(scope="session")
def _finished(tmp_path_factory, _percentiles_once):
    from search.__main__ import main

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY_SEARCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.figures.save_figure", blank)
        line = ["-c", folder / "tiny.yaml", "--run", folder / "run"]
        patch.setattr(sys, "argv", ["search", "fit", *map(str, line)])
        main()
    return folder / "run"


@pytest.fixture
def finished_search(tiny_search, tmp_path, _finished):
    """A tiny search whose run folder holds it finished: a copy of one that tests share."""
    shutil.copytree(_finished, tmp_path / "run")
    return tiny_search


@pytest.fixture
def tuned_search(tmp_path, _cheap):
    """A search of seconds that learns from tunings: 9 shared steps, 8 labels, 3 finalists."""
    config = tmp_path / "tuned.yaml"
    config.write_text(TUNED_SEARCH)
    return ["-c", str(config), "--run", str(tmp_path / "run")]


@pytest.fixture
def command():
    """Run ``python -m MODULE ARGS`` as a user would and return the finished process."""
    return preloaded.run


@pytest.fixture
def counted():
    """Parameters and multiply-accumulates of a network on the meta device, by its modules."""

    def count_modules(network, resolution):
        macs = 0

        def add(module, _, output):
            nonlocal macs
            pixels = output.shape[-1] ** 2 if isinstance(module, nn.Conv2d) else 1
            macs += module.weight.numel() * pixels

        network.eval()
        layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        hooks = [layer.register_forward_hook(add) for layer in layers]
        network(torch.empty(1, 3, resolution, resolution, device="meta"))
        for hook in hooks:
            hook.remove()
        return Cost(sum(parameter.numel() for parameter in network.parameters()), macs)

    return count_modules
