"""The update: closed forms, a toy reward, a resume, and two processes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search.baseline import Baseline, advantages, gather_mean_std, mean_over_ranks
from search.controller import Controller
from search.ppo import PPO, adam, learning_rate, ppo_loss, ppo_update
from supernet.arch import DECISIONS
from supernet.errors import UserError
from supernet.space import MnasSpace

SPACE = MnasSpace()
SMALL = MnasSpace(base_filters=(16, 24), base_layers=(1, 2), strides=(1, 2))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(space: MnasSpace = SMALL, seed: int = 0) -> Controller:
    torch.manual_seed(seed)
    return Controller(space.decision_sizes)


@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.5, 2.0, 2.4, 0.0),
        (0.5, 2.0, 1.0, 1.0),
        (1.5, -2.0, -3.0, -3.0),
        (0.5, -2.0, -1.6, 0.0),
    ],
)
def test_loss_and_slope_are_those_of_the_clipped_surrogate(ratio, advantage, surrogate, slope):
    """Schulman et al. 2017, fig. 1, at a clip range of 0.2."""
    new = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    loss = ppo_loss(new, torch.zeros_like(new), torch.tensor([advantage]).double(), 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(-surrogate)
    assert new.grad.item() == pytest.approx(-slope)


def test_at_the_first_step_the_gradient_is_the_policy_gradient():
    """All ratios are 1, so PPO equals REINFORCE with the same advantages."""
    controller = fresh().double()
    samples = controller.sample(8, generator(5))
    gain = torch.randn(8, dtype=torch.float64, generator=generator(6))
    log_prob, _ = controller.evaluate(samples.indices)
    parameters = tuple(controller.parameters())
    loss = ppo_loss(log_prob, samples.log_prob, gain, 0.2)
    reinforce = -(log_prob.sum(dim=1) * gain).mean()
    ours = torch.autograd.grad(loss, parameters, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(reinforce, parameters))


def test_the_first_of_several_epochs_is_not_clipped_and_later_ones_are():
    logs = {}
    for epochs in (1, 8):
        controller = fresh()
        settings = PPO(epochs=epochs, lr=0.03)
        samples = controller.sample(8, generator(5))
        gain = torch.randn(8, generator=generator(6))
        logs[epochs] = ppo_update(
            controller, adam(controller, settings), samples, gain, settings, identity, generator(0)
        )
    assert logs[1]["clip_fraction"] == 0
    assert logs[1]["kl"] == pytest.approx(0, abs=1e-6)
    assert logs[8]["clip_fraction"] > 0.01
    assert logs[8]["kl"] > 0.01
    assert {f"entropy/{kind}" for kind in DECISIONS} < logs[1].keys()


def identity(gradient: Tensor) -> Tensor:
    return gradient


def test_long_gradients_are_shortened_to_the_limit():
    controller = fresh()
    settings = PPO(epochs=1, max_grad_norm=1e-3)
    update(controller, adam(controller, settings), Baseline(0.0), toy(SMALL, 0), 0, settings)
    norm = torch.cat([p.grad.flatten() for p in controller.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-4)


def test_more_minibatches_than_samples_is_refused():
    controller, settings = fresh(), PPO(minibatches=5)
    samples = controller.sample(4, generator(0))
    with pytest.raises(UserError, match=r"ppo\.minibatches is 5, but an update has 4 samples"):
        ppo_update(
            controller, adam(controller, settings), samples, torch.ones(4), settings, identity,
            generator(0),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 0), ("minibatches", 0), ("clip", 1.0), ("entropy", -0.1), ("lr", 0.0),
     ("lr_growth", 0.0), ("baseline_decay", 1.0), ("max_grad_norm", math.nan)],
)  # fmt: skip
def test_settings_outside_their_limits_are_refused_by_their_key(key, value):
    with pytest.raises(UserError, match=rf"ppo\.{key} is {value}, it must be"):
        PPO(**{key: value})


def test_the_learning_rate_is_zero_in_the_warmup_and_then_rises_tenfold():
    settings = PPO(lr=1e-3, lr_growth=10.0)
    rates = [learning_rate(progress, 0.4, settings) for progress in (0.0, 0.39, 0.4, 0.7, 1.0)]
    assert rates == pytest.approx([0.0, 0.0, 1e-3, 1e-3 * math.sqrt(10), 1e-2])


def test_the_baseline_is_the_zero_debiased_moving_average():
    baseline, decay, means = Baseline(0.9), 0.9, [0.5, 0.7, 0.2]
    for step, mean in enumerate(means, 1):
        value = baseline.update(torch.tensor(mean)).item()
        weights = [(1 - decay) * decay ** (step - past) for past in range(1, step + 1)]
        expected = sum(w * m for w, m in zip(weights, means, strict=False)) / (1 - decay**step)
        assert value == pytest.approx(expected, rel=1e-5)


def test_normalised_advantages_have_unit_root_mean_square_and_keep_their_order():
    rewards = torch.tensor([0.1, 0.4, 0.2, 0.9])
    baseline = Baseline(0.9)
    baseline.update(torch.tensor(0.8))
    gains = advantages(rewards, baseline)
    assert gains.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(gains.argsort(), rewards.argsort())
    plain = advantages(rewards, Baseline(0.9), normalise=False)
    torch.testing.assert_close(plain, rewards - rewards.mean())


def test_normalisation_does_not_blow_up_the_rounding_of_equal_rewards():
    assert advantages(torch.full((8,), 0.7), Baseline(0.95)).abs().max() < 0.1


def toy(space: MnasSpace, seed: int) -> Tensor:
    """(D, V) random scores; an architecture's reward is the mean of those it chose."""
    scores = torch.rand(len(space.decision_sizes), 4, generator=generator(seed))
    exists = torch.arange(4) < torch.tensor(space.decision_sizes)[:, None]
    return scores.where(exists, -1.0)


def toy_reward(scores: Tensor, indices: Tensor) -> Tensor:
    return scores.gather(1, indices.T).mean(dim=0)


def update(
    controller: Controller,
    optimizer: torch.optim.Optimizer,
    baseline: Baseline,
    scores: Tensor,
    step: int,
    settings: PPO,
) -> None:
    samples = controller.sample(20, generator(1000 + step))
    gain = advantages(toy_reward(scores, samples.indices), baseline)
    ppo_update(controller, optimizer, samples, gain, settings, mean_over_ranks, generator(step))


def search(space: MnasSpace, seed: int, updates: int) -> float:
    """The reward of the greedy architecture over the best reward, after a search of the toy."""
    settings, scores, controller = PPO(), toy(space, seed), fresh(space, seed)
    optimizer, baseline = adam(controller, settings), Baseline(settings.baseline_decay)
    for step in range(updates):
        optimizer.param_groups[0]["lr"] = learning_rate(step / updates, 0.0, settings)
        update(controller, optimizer, baseline, scores, step, settings)
    best = scores.amax(dim=1).mean()
    return (toy_reward(scores, controller.greedy()[None])[0] / best).item()


def test_the_controller_learns_a_small_toy():
    assert search(SMALL, seed=0, updates=20) > 0.97


@pytest.mark.slow
def test_1500_samples_find_99_percent_of_the_toy_optimum_for_nine_seeds_of_ten():
    assert sum(search(SPACE, seed, updates=75) >= 0.99 for seed in range(10)) >= 9


def test_a_resumed_update_is_bit_identical(tmp_path):
    settings, scores = PPO(epochs=2, minibatches=2), toy(SMALL, 0)
    states = []
    for stop in (None, 2):
        controller, baseline = fresh(), Baseline(settings.baseline_decay)
        optimizer = adam(controller, settings)
        for step in range(4):
            if step == stop:
                parts = (controller, optimizer, baseline)
                torch.save([part.state_dict() for part in parts], tmp_path / "state.pt")
                controller, baseline = fresh(seed=9), Baseline(settings.baseline_decay)
                optimizer = adam(controller, settings)
                saved = torch.load(tmp_path / "state.pt", weights_only=True)
                for part, state in zip((controller, optimizer, baseline), saved, strict=True):
                    part.load_state_dict(state)
            update(controller, optimizer, baseline, scores, step, settings)
        states.append({**controller.state_dict(), **baseline.state_dict()})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["head_bias"], fresh().head_bias)


RANK_SCRIPT = """
import json
import sys
from datetime import timedelta
import torch
from torch import distributed
from search.baseline import Baseline, advantages, gather_mean_std, mean_over_ranks
from search.controller import Controller
from search.ppo import PPO, adam, ppo_update

rank, folder, sizes = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2,
    timeout=timedelta(seconds=60),
)
torch.manual_seed(0)
controller, settings, baseline = Controller(sizes, 8), PPO(epochs=2, minibatches=2), Baseline(0.9)
optimizer = adam(controller, settings)
for step in range(3):
    generator = torch.Generator().manual_seed(100 * step + rank)
    samples = controller.sample(6, generator)
    rewards = samples.indices.double().mean(dim=1) + rank
    moments = gather_mean_std(rewards)
    gain = advantages(rewards, baseline)
    ppo_update(controller, optimizer, samples, gain, settings, mean_over_ranks, generator)
torch.save(
    {"controller": controller.state_dict(), "baseline": baseline.state_dict(),
     "indices": samples.indices, "rewards": rewards, "moments": moments},
    f"{folder}/{rank}.pt",
)
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes with different samples hold after three updates."""
    folder = tmp_path_factory.mktemp("ranks")
    arguments = [str(folder), json.dumps(SMALL.decision_sizes)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK_SCRIPT, str(rank), *arguments],
            cwd=Path(__file__).parents[1],
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_ranks_with_different_samples_keep_identical_controllers(ranks):
    first, second = ranks
    assert not torch.equal(first["indices"], second["indices"])
    for part in ("controller", "baseline"):
        assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])
    torch.manual_seed(0)
    start = Controller(SMALL.decision_sizes, 8)
    assert not torch.equal(first["controller"]["head_bias"], start.head_bias)


def test_moments_of_the_rewards_are_those_of_all_ranks_together(ranks):
    together = torch.cat([rank["rewards"] for rank in ranks])
    for rank in ranks:
        mean, std = rank["moments"]
        torch.testing.assert_close(mean, together.mean())
        torch.testing.assert_close(std, together.std(correction=0))


def test_one_process_reduces_to_itself():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert mean_over_ranks(values) is values
    mean, std = gather_mean_std(values)
    assert (mean.item(), std.item()) == pytest.approx((3.0, math.sqrt(14 / 3)))
