"""The updates of a policy and its advantages, in closed form."""

import math

import pytest
import torch

from search.controllers.controller import UpdateStep
from search.controllers.cost_gradient import DifferentiableCost
from search.controllers.policy import LstmPolicy
from search.controllers.policy_gradient import Baseline, PolicyGradient, centre, gather_mean_std
from search.controllers.ppo_and_reinforce import PPO, Reinforce, Tunas, ppo_loss, reinforce_loss
from search.controllers.settings import ControllerSettings
from supernet.errors import UserError
from supernet.run.distributed import gather_rows, mean_over_ranks
from supernet.space.mnasnet import MnasSpace
from tests.helpers.toys import generator

SMALL = MnasSpace(base_filters=(16, 24), base_layers=(1, 2), strides=(1, 2))
ONE_TARGET = torch.zeros(8, dtype=torch.long)


def fresh() -> LstmPolicy:
    torch.manual_seed(0)
    return LstmPolicy(SMALL.decision_sizes)


def update(policy: LstmPolicy, settings: Reinforce) -> dict[str, float]:
    """One update by eight samples with random advantages."""
    samples = policy.sample(8, generator(5))
    gain = torch.randn(8, generator=generator(6))
    return PolicyGradient(policy, settings).climb(samples, gain, generator(0))


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


def test_at_the_first_step_the_gradient_of_ppo_is_that_of_reinforce():
    policy = fresh().double()
    samples = policy.sample(8, generator(5))
    gain = torch.randn(8, dtype=torch.float64, generator=generator(6))
    log_prob, _ = policy.evaluate(samples.indices)
    parameters = tuple(policy.parameters())
    loss = ppo_loss(log_prob, samples.log_prob, gain, 0.2)
    ours = torch.autograd.grad(loss, parameters, retain_graph=True)
    reinforce = reinforce_loss(log_prob, gain)
    torch.testing.assert_close(ours, torch.autograd.grad(reinforce, parameters))


def test_one_update_by_reinforce_is_one_pass_of_ppo():
    one, other = fresh(), fresh()
    update(one, Reinforce(lr=1e-3))
    update(other, PPO(lr=1e-3, epochs=1))
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, yours)
    assert not torch.equal(one.head_bias, fresh().head_bias)


def test_the_first_of_several_epochs_is_not_clipped_and_later_ones_are():
    logs = {epochs: update(fresh(), PPO(epochs=epochs, lr=0.03)) for epochs in (1, 8)}
    assert logs[1]["clip_fraction"] == 0
    assert logs[1]["kl"] == pytest.approx(0, abs=1e-6)
    assert logs[8]["clip_fraction"] > 0.01
    assert logs[8]["kl"] > 0.01


@pytest.mark.parametrize(
    "settings", [PPO(epochs=1, max_grad_norm=1e-3), Reinforce(max_grad_norm=1e-3)]
)
def test_long_gradients_are_shortened_to_the_limit(settings):
    policy = fresh()
    logs = update(policy, settings)
    norm = torch.cat([p.grad.flatten() for p in policy.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-4)
    assert logs["gradient_norm"] > 1e-3


def test_the_logged_kl_is_from_the_old_policy_to_the_new():
    old, new = torch.tensor([0.7, 0.2, 0.1]).log(), torch.tensor([0.2, 0.2, 0.6]).log()
    drawn = torch.multinomial(old.exp(), 200_000, replacement=True, generator=generator(0))
    _, logs = PPO(clip=0.2).loss(new[drawn, None], old[drawn, None], torch.zeros(200_000))
    forward, backward = ((p.exp() * (p - q)).sum() for p, q in ((old, new), (new, old)))
    assert abs(backward - forward) > 0.1
    assert logs["kl"].item() == pytest.approx(forward.item(), rel=0.02)
    # Of the three ratios 2/7, 1 and 6, the first and the last lie outside.
    assert logs["clip_fraction"].item() == pytest.approx(0.8, abs=0.005)


def test_more_minibatches_than_samples_is_refused():
    with pytest.raises(UserError, match=r"ppo\.minibatches is 5, but an update has 4 samples"):
        ControllerSettings(ppo=PPO(minibatches=5)).build(SMALL.decision_sizes, 4, keep=8)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("minibatches", 0),
        ("clip", 1.0),
        ("entropy", -0.1),
        ("lr", 0.0),
        ("lr_growth", 0.0),
        ("lr_updates", 0),
        ("baseline_decay", 1.0),
        ("max_grad_norm", math.nan),
    ],
)
def test_settings_outside_their_limits_are_refused_by_their_key(key, value):
    with pytest.raises(UserError, match=rf"ppo\.{key} is {value}, it must be"):
        PPO(**{key: value})


@pytest.mark.parametrize(
    ("settings", "section"),
    [(Reinforce, "reinforce"), (Tunas, "tunas"), (DifferentiableCost, "cost_gradient")],
)
def test_settings_are_refused_by_the_section_of_the_config(settings, section):
    with pytest.raises(UserError, match=rf"{section}\.lr is 0, it must be above 0"):
        settings(lr=0)


def test_the_learning_rate_rises_tenfold_over_the_controllers_time():
    settings = PPO(lr=1e-3, lr_growth=10.0, lr_updates=80)
    rates = [settings.learning_rate(UpdateStep(number, 80)) for number in (0, 40, 80)]
    assert rates == pytest.approx([1e-3, 1e-3 * math.sqrt(10), 1e-2])


def test_four_times_the_updates_halve_the_learning_rate():
    settings = Reinforce(lr=1e-3, lr_updates=75)
    rates = [settings.learning_rate(UpdateStep(3, updates)) for updates in (75, 300)]
    assert rates == pytest.approx([1e-3, 5e-4])


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
    distances, scale = centre(rewards, baseline, ONE_TARGET[:4])
    gains = distances / scale
    assert gains.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(gains.argsort(), rewards.argsort())
    plain, _ = centre(rewards, Baseline(0.9), ONE_TARGET[:4])
    torch.testing.assert_close(plain, rewards - rewards.mean())


def test_normalisation_does_not_blow_up_the_rounding_of_equal_rewards():
    distances, scale = centre(torch.full((8,), 0.7), Baseline(0.95), ONE_TARGET)
    assert (distances / scale).abs().max() < 0.1


def test_one_process_reduces_to_itself():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert mean_over_ranks(values) is values
    mean, std = gather_mean_std(values, ONE_TARGET[:3])
    assert (mean.item(), std.item()) == pytest.approx((3.0, math.sqrt(14 / 3)))
    assert gather_rows(values) is values
