"""What every test starts from: one thread, quiet W&B, and nothing left behind."""

import os

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # Tests run beside each other on small machines; more threads only fight.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """Restore variables that Lightning and W&B leave behind (PL_GLOBAL_SEED among them)."""
    before = dict(os.environ)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
