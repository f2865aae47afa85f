"""The policies against closed forms on spaces small enough to enumerate."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call

from search.controllers import policy as policy_module
from search.controllers.policy import IndependentPolicy, LstmPolicy, Policy
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace()
SMALL = MnasSpace(
    ops=("conv", "mbconv3"),
    ses=(0.0,),
    skips=("none", "identity"),
    filters=(1.0,),
    base_filters=(16, 24),
    base_layers=(2, 2),
    strides=(1, 2),
)
"""Two blocks of 2 * 2 * 1 * 2 * 1 * 3 codes, with decisions of one value among them."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


POLICIES = pytest.mark.parametrize("kind", [LstmPolicy, IndependentPolicy])


def fresh(kind: type[Policy], space: MnasSpace = SMALL, hidden: int = 100) -> Policy:
    torch.manual_seed(0)
    sizes = space.decision_sizes
    return LstmPolicy(sizes, hidden) if kind is LstmPolicy else kind(sizes)


def opinionated(
    kind: type[Policy], space: MnasSpace = SMALL, dtype: torch.dtype = torch.float64
) -> Policy:
    """A policy far from uniform; later decisions of the LSTM depend on earlier ones."""
    policy = fresh(kind, space, hidden=6).to(dtype)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(parameter * 12 if kind is LstmPolicy else torch.randn_like(parameter))
    return policy


def every_code(space: MnasSpace) -> Tensor:
    return torch.tensor(list(itertools.product(*(range(size) for size in space.decision_sizes))))


@POLICIES
def test_probabilities_of_all_architectures_sum_to_one(kind):
    log_prob, _ = opinionated(kind).evaluate(every_code(SMALL))
    probabilities = log_prob.sum(dim=1).exp()
    assert len(probabilities) == 24**2
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert probabilities.max() > 10 * probabilities.min()


@POLICIES
def test_expected_entropy_of_the_decisions_is_the_entropy_of_the_policy(kind):
    """The chain rule of entropy, on every architecture of the space."""
    log_prob, entropy = opinionated(kind).evaluate(every_code(SMALL))
    joint = log_prob.sum(dim=1)
    torch.testing.assert_close(
        (joint.exp() * entropy.sum(dim=1)).sum(), -(joint.exp() * joint).sum()
    )


@POLICIES
def test_samples_are_drawn_with_the_stated_probabilities(kind):
    space = MnasSpace(
        ops=("conv", "mbconv3"),
        kernels=(3,),
        ses=(0.0,),
        skips=("none",),
        filters=(1.0,),
        layers=(-1, 0, 1),
        base_filters=(16, 24),
        base_layers=(2, 2),
        strides=(1, 2),
    )
    policy, codes, num = opinionated(kind, space), every_code(space), 20_000
    expected = num * policy.evaluate(codes)[0].sum(dim=1).exp()
    drawn = policy.sample(num, generator(0)).indices
    counts = torch.stack([(drawn == code).all(dim=1).sum() for code in codes])
    chi_square = ((counts - expected).square() / expected).sum().item()
    freedom = len(codes) - 1
    assert counts.sum() == num
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


@POLICIES
def test_a_fresh_policy_is_nearly_uniform(kind):
    samples = fresh(kind, SPACE).sample(8, generator(0))
    uniform = sum(math.log(size) for size in SPACE.decision_sizes)
    assert samples.entropy.sum(dim=1).mean().item() == pytest.approx(uniform, rel=0.005)


@POLICIES
def test_what_sampling_stores_is_what_teacher_forcing_finds(kind):
    policy = opinionated(kind, SPACE)
    samples = policy.sample(16, generator(1))
    log_prob, entropy = policy.evaluate(samples.indices)
    torch.testing.assert_close(log_prob.detach(), samples.log_prob)
    torch.testing.assert_close(entropy.detach(), samples.entropy)
    assert not samples.log_prob.requires_grad
    assert {len(SPACE.decode(row).blocks) for row in samples.indices.tolist()} == {7}


def test_many_are_drawn_in_parts_each_for_its_own_target(monkeypatch):
    torch.manual_seed(0)
    policy = LstmPolicy(SMALL.decision_sizes, 6, targets=3).double()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter)
    targets = torch.arange(7) % 3
    whole = policy.sample(7, generator(1), targets)
    monkeypatch.setattr(policy_module, "AT_ONCE", 3)
    parts = policy.sample(7, generator(1), targets)
    assert torch.equal(parts.indices, whole.indices)
    log_prob, _ = policy.evaluate(whole.indices, targets)
    for samples in (whole, parts):
        torch.testing.assert_close(samples.log_prob, log_prob.detach())


@POLICIES
def test_the_generator_alone_decides_what_is_drawn(kind):
    policy = fresh(kind, SPACE)
    torch.manual_seed(1)
    first = policy.sample(4, generator(7)).indices
    torch.manual_seed(2)
    assert torch.equal(first, policy.sample(4, generator(7)).indices)
    assert not torch.equal(first, policy.sample(4, generator(8)).indices)


@POLICIES
def test_greedy_takes_the_likeliest_value_of_every_decision(kind):
    policy = opinionated(kind, SPACE)
    greedy = policy.greedy()
    for decision, size in enumerate(SPACE.decision_sizes):
        others = greedy.repeat(size, 1)
        others[:, decision] = torch.arange(size)
        assert policy.evaluate(others)[0][:, decision].argmax() == greedy[decision]


@POLICIES
def test_gradients_of_log_probability_and_entropy_agree_with_finite_differences(kind):
    policy = fresh(kind, hidden=3).double()
    names = [name for name, _ in policy.named_parameters()]
    indices = policy.sample(2, generator(3)).indices

    def outputs(*values: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(names, values, strict=True))
        return functional_call(
            _Evaluate(policy), {f"inner.{k}": v for k, v in named.items()}, indices
        )

    assert gradcheck(outputs, tuple(policy.parameters()), fast_mode=True)


class _Evaluate(torch.nn.Module):
    def __init__(self, inner: Policy) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.evaluate(indices)


@POLICIES
def test_autocast_to_bfloat16_changes_no_bit(kind):
    policy = opinionated(kind, SPACE, torch.float32)
    plain = policy.sample(8, generator(4))
    with torch.autocast("cpu", torch.bfloat16):
        cast = policy.sample(8, generator(4))
        log_prob, _ = policy.evaluate(plain.indices)
    assert torch.equal(plain.indices, cast.indices)
    assert torch.equal(plain.log_prob, cast.log_prob)
    assert torch.equal(log_prob, policy.evaluate(plain.indices)[0])
    assert log_prob.dtype == torch.float32


def test_decisions_of_the_lstm_depend_on_earlier_ones_and_others_do_not():
    for kind, depends in ((LstmPolicy, True), (IndependentPolicy, False)):
        policy = opinionated(kind, SPACE)
        one, other = torch.zeros(2, 1, len(SPACE.decision_sizes), dtype=torch.long)
        other[0, 0] = 1
        (first, _), (second, _) = policy.evaluate(one), policy.evaluate(other)
        assert torch.equal(first[0, 1:], second[0, 1:]) is not depends
