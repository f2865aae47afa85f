"""The controller against closed forms on spaces small enough to enumerate."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call

from search.controller import Controller
from supernet.space import MnasSpace

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


def fresh(space: MnasSpace = SMALL, seed: int = 0, hidden: int = 100) -> Controller:
    torch.manual_seed(seed)
    return Controller(space.decision_sizes, hidden)


def opinionated(space: MnasSpace = SMALL, dtype: torch.dtype = torch.float64) -> Controller:
    """A controller far from uniform, whose later decisions depend on earlier ones."""
    controller = fresh(space, hidden=6).to(dtype)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.mul_(12)
    return controller


def every_code(space: MnasSpace) -> Tensor:
    return torch.tensor(list(itertools.product(*(range(size) for size in space.decision_sizes))))


def test_probabilities_of_all_architectures_sum_to_one():
    log_prob, _ = opinionated().evaluate(every_code(SMALL))
    probabilities = log_prob.sum(dim=1).exp()
    assert len(probabilities) == 24**2
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert probabilities.max() > 10 * probabilities.min()


def test_expected_entropy_of_the_decisions_is_the_entropy_of_the_policy():
    """The chain rule of entropy, on every architecture of the space."""
    log_prob, entropy = opinionated().evaluate(every_code(SMALL))
    joint = log_prob.sum(dim=1)
    torch.testing.assert_close(
        (joint.exp() * entropy.sum(dim=1)).sum(), -(joint.exp() * joint).sum()
    )


def test_samples_are_drawn_with_the_stated_probabilities():
    space = MnasSpace(
        ops=("conv", "mbconv3"), kernels=(3,), ses=(0.0,), skips=("none",), filters=(1.0,),
        base_filters=(16, 24), base_layers=(2, 2), strides=(1, 2),
    )  # fmt: skip
    controller, codes, num = opinionated(space), every_code(space), 20_000
    expected = num * controller.evaluate(codes)[0].sum(dim=1).exp()
    drawn = controller.sample(num, generator(0)).indices
    counts = torch.stack([(drawn == code).all(dim=1).sum() for code in codes])
    chi_square = ((counts - expected).square() / expected).sum().item()
    freedom = len(codes) - 1
    assert counts.sum() == num
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_a_fresh_controller_is_nearly_uniform():
    samples = fresh(SPACE).sample(8, generator(0))
    uniform = sum(math.log(size) for size in SPACE.decision_sizes)
    assert samples.entropy.sum(dim=1).mean().item() == pytest.approx(uniform, rel=0.005)


def test_what_sampling_stores_is_what_teacher_forcing_finds():
    controller = opinionated(SPACE)
    samples = controller.sample(16, generator(1))
    log_prob, entropy = controller.evaluate(samples.indices)
    torch.testing.assert_close(log_prob.detach(), samples.log_prob)
    torch.testing.assert_close(entropy.detach(), samples.entropy)
    assert not samples.log_prob.requires_grad
    assert {len(SPACE.decode(row).blocks) for row in samples.indices.tolist()} == {7}


def test_the_generator_alone_decides_what_is_drawn():
    controller = fresh(SPACE)
    torch.manual_seed(1)
    first = controller.sample(4, generator(7)).indices
    torch.manual_seed(2)
    assert torch.equal(first, controller.sample(4, generator(7)).indices)
    assert not torch.equal(first, controller.sample(4, generator(8)).indices)


def test_greedy_takes_the_likeliest_value_of_every_decision():
    controller = opinionated(SPACE)
    greedy = controller.greedy()
    for decision, size in enumerate(SPACE.decision_sizes):
        others = greedy.repeat(size, 1)
        others[:, decision] = torch.arange(size)
        assert controller.evaluate(others)[0][:, decision].argmax() == greedy[decision]


def test_gradients_of_log_probability_and_entropy_agree_with_finite_differences():
    controller = fresh(hidden=3).double()
    names = [name for name, _ in controller.named_parameters()]
    indices = controller.sample(2, generator(3)).indices

    def outputs(*values: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(names, values, strict=True))
        return functional_call(
            _Evaluate(controller), {f"inner.{k}": v for k, v in named.items()}, indices
        )

    assert gradcheck(outputs, tuple(controller.parameters()), fast_mode=True)


class _Evaluate(torch.nn.Module):
    def __init__(self, inner: Controller) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.evaluate(indices)


def test_autocast_to_bfloat16_changes_no_bit():
    controller = opinionated(SPACE, torch.float32)
    plain = controller.sample(8, generator(4))
    with torch.autocast("cpu", torch.bfloat16):
        cast = controller.sample(8, generator(4))
        log_prob, _ = controller.evaluate(plain.indices)
    assert torch.equal(plain.indices, cast.indices)
    assert torch.equal(plain.log_prob, cast.log_prob)
    assert torch.equal(log_prob, controller.evaluate(plain.indices)[0])
    assert log_prob.dtype == torch.float32
