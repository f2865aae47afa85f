"""--compile: the same training, names and resumption, and one line where it cannot be."""

import pytest
import torch

from retrain import compiled
from retrain.__main__ import main
from retrain.compiled import FULL, GRADIENTS, OUTPUTS, check_compiled, why_not
from supernet.errors import UserError
from supernet.network.checkpoint import load_network
from tests.helpers.interrupted import Kill, assert_same_weights
from tests.helpers.tiny import TRAINING, write_tiny_arch

OPTIONS = ("--trainer.accelerator=cpu", "--wandb.mode=disabled", "--threads=1")


@pytest.fixture
def traced(monkeypatch):
    """Have passes traced and taken apart, but no C++ generated, which takes a minute."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    compiled.compiled_run.cache_clear()
    yield
    compiled.compiled_run.cache_clear()


@pytest.fixture
def train(tmp_path):
    config = tmp_path / "retrain.yaml"
    config.write_text(TRAINING.replace("STEPS", "6").replace("ema_decay: 0,", "ema_decay: 0.9,"))
    arch = write_tiny_arch(tmp_path / "arch.json")

    def fit(name, *options):
        run = tmp_path / name
        words = ["-c", config, "--run", run, "--model.arch", arch, *OPTIONS, *options]
        main(["fit", *map(str, words)])
        return run / "checkpoints" / "last.ckpt"

    return fit


def state(path):
    return torch.load(path, weights_only=True)


def test_a_compiled_training_is_the_eager_one(traced, train):
    fast, plain = train("fast", "--compile"), train("plain")
    for kind in ("state_dict", "current_model_state"):
        assert_same_weights(state(fast)[kind], state(plain)[kind])
    assert compiled.compiled_run.cache_info().hits > 6
    load_network(fast)  # under the names of a Network
    # A compiled run goes on as one.
    with pytest.raises(UserError, match="compile is False, but the run to continue has True"):
        train("fast", "--ckpt_path=last", "--trainer.max_steps=8")


@pytest.mark.slow  # compiles C++: a minute and a half on a quiet core
def test_a_compiled_training_that_was_killed_goes_on_to_the_same_bits(train, monkeypatch):
    whole = train("whole", "--compile")
    kill = f"{{class_path: {Kill.__module__}.Kill, init_args: {{step: 3}}}}"
    options = [
        "--checkpoint_every_s=0",
        f"--trainer.callbacks={kill}",
        f"--trust={Kill.__module__}",
    ]
    with pytest.raises(RuntimeError, match="killed"):
        train("killed", "--compile", *options)
    again = train("killed", "--compile", "--ckpt_path=last")
    for kind in ("state_dict", "current_model_state"):
        assert_same_weights(state(whole)[kind], state(again)[kind])


@pytest.mark.parametrize(("what", "place"), [(OUTPUTS, 0), (GRADIENTS, 1)])
def test_what_differs_from_eager_is_refused(what, place):
    exact = torch.ones(4), torch.ones(9)

    def passes(compiles, factor):
        off = [one * (1 + compiles * factor * (n == place)) for n, one in enumerate(exact)]
        return off[0], off[1]

    check_compiled(lambda compiles: passes(compiles, 0.9 * FULL[what]), "32-true")
    with pytest.raises(UserError, match=rf"--compile: {what} of the first batch are .* leave"):
        check_compiled(lambda compiles: passes(compiles, 1.1 * FULL[what]), "32-true")
    check_compiled(lambda compiles: passes(compiles, 1.1 * FULL[what]), "bf16-mixed")
    with pytest.raises(UserError, match="are nan of their norm"):
        check_compiled(lambda compiles: passes(compiles, torch.nan), "bf16-mixed")


def test_a_missing_compiler_is_one_line(train, monkeypatch, tmp_path):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/g++",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # that of others has programs
    with pytest.raises(UserError, match=r"--compile needs a C\+\+ compiler, and none is here: ins"):
        train("run", "--compile")


def test_another_failure_is_one_line_too():
    line = why_not(RuntimeError("a\nb"))
    assert line == "--compile fails (RuntimeError: a b): leave --compile out"
