"""Every way to compute a convolution has the result and the gradients of torch's own."""

from unittest.mock import Mock

import pytest
import torch
from torch.nn import functional

from supernet.network import convolution
from supernet.network.convolution import SMALL_MAP, convolve
from supernet.network.network import PaddedConv, SqueezeExcite

LAYOUTS = torch.contiguous_format, torch.channels_last
SIDES = [(1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (4, 2), (6, 6), (9, 7)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("sides", SIDES)
def test_results_and_gradients_are_those_of_torch(sides, depthwise, kernel, stride):
    groups = 6 if depthwise else 1
    for layout in LAYOUTS:
        x = torch.randn(5, 6, *sides).contiguous(memory_format=layout)
        weight = torch.randn(6 if depthwise else 4, 6 // groups, kernel, kernel)
        ours = [one.requires_grad_() for one in (x, weight, torch.randn(len(weight)))]
        # In doubles, which oneDNN leaves alone: strided 1x1 convolutions that learn corrupt memory.
        theirs = [one.detach().double().requires_grad_() for one in ours]
        expected = functional.conv2d(*theirs, stride, kernel // 2, groups=groups)
        found = convolve(*ours[:2], stride, ours[2])
        ahead = torch.randn_like(found)
        learned = torch.autograd.grad(found, ours, ahead)
        wanted = torch.autograd.grad(expected, theirs, ahead.double())
        for one, other in zip((found, *learned), (expected, *wanted), strict=True):
            torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(convolve(x, weight, stride) + ours[2][:, None, None], found)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_have_the_strides_of_weights_as_ddp_asks(kernel, groups, layout):
    conv = PaddedConv(6, 6, kernel, groups=groups).to(memory_format=layout)
    for side in (1, 2, 8):
        conv.weight.grad = None
        conv(torch.randn(2, 6, side, side).contiguous(memory_format=layout)).sum().backward()
        assert conv.weight.grad.stride() == conv.weight.stride()


def test_only_what_asks_for_a_gradient_gets_one():
    x, weight = torch.randn(2, 3, 2, 2), torch.randn(3, 1, 3, 3)
    for one in (x, weight):
        one.requires_grad_()
        convolve(x, weight).sum().backward()
        assert one.grad is not None
        one.requires_grad_(False)
    assert not convolve(x, weight).requires_grad


@pytest.mark.parametrize(("kernel", "fast"), [(3, True), (5, True), (1, False)])
def test_a_kernel_larger_than_its_map_learns_without_reference_code(kernel, fast, monkeypatch):
    asked = Mock(wraps=convolution._depthwise_gradient)
    monkeypatch.setattr(convolution, "_depthwise_gradient", asked)
    for side in (2, 8):
        x = torch.randn(2, 3, side, side)
        convolve(x, torch.randn(3, 1, kernel, kernel, requires_grad=True)).sum().backward()
    assert asked.call_count == fast, "on the map of 2 pixels alone"


def test_autocast_and_compilation_keep_torchs_own(monkeypatch):
    monkeypatch.setattr(convolution, "_depthwise_gradient", Mock(side_effect=AssertionError))
    x, weight = torch.randn(2, 3, 2, 2), torch.randn(3, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve(x, weight)
    assert found.dtype == torch.bfloat16
    found.float().sum().backward()
    torch.compile(convolve, backend="eager")(x, weight).sum().backward()


def test_a_gate_of_channels_learns_as_it_judges():
    gate, x = SqueezeExcite(6, 2), torch.randn(3, 6, 4, 4)
    found = [gate.train(mode)(x) for mode in (True, False)]
    torch.testing.assert_close(*found)
    assert [type(one) for one in gate.children()] == [PaddedConv, PaddedConv]
    learned = [torch.autograd.grad(one.square().sum(), [*gate.parameters()]) for one in found]
    torch.testing.assert_close(*learned)


@pytest.mark.parametrize(("kernel", "side"), [(1, 12), (1, 11), (1, 6), (1, 5), (3, 1)])
def test_no_pointwise_convolution_strides_by_itself(kernel, side, monkeypatch):
    """On AVX2 such a one of fewer than 8 channels writes beyond its memory as it learns."""
    x = torch.randn(2, 4, side, side).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(12, 4, kernel, kernel)
    expected = functional.conv2d(x, weight, stride=2, padding=kernel // 2)
    asked = Mock(wraps=functional.conv2d)
    monkeypatch.setattr(functional, "conv2d", asked)
    torch.testing.assert_close(convolve(x, weight, stride=2), expected)
    assert [one.kwargs for one in asked.call_args_list] == [{}] * (side > 2 * SMALL_MAP)


@pytest.mark.parametrize(
    ("sides", "taps"),
    [((1, 1), 1), ((2, 2), 3), ((1, 2), 3), ((2, 1), 3), ((1, 3), 5), ((4, 4), 5)],
)
def test_a_training_convolution_leaves_out_what_sees_padding_alone(sides, taps, monkeypatch):
    conv = PaddedConv(4, 4, 5, stride=2, groups=4)
    images = torch.randn(3, 4, *sides, requires_grad=True)
    found = [conv.eval()(images), conv.train()(images)]
    torch.testing.assert_close(found[1], found[0])
    learned = [torch.autograd.grad(one.square().sum(), (images, conv.weight)) for one in found]
    torch.testing.assert_close(learned[1], learned[0])
    asked = Mock(wraps=functional.conv2d)
    monkeypatch.setattr(functional, "conv2d", asked)
    conv(images)
    kernels = [call.args[1].shape[-1] for call in asked.call_args_list]
    assert kernels == [taps] * (taps > 1), "a single tap is a factor"


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_training_convolution_takes_its_own_number_of_channels_alone(channels):
    with pytest.raises(RuntimeError, match=f"to have 3 channels, but got {channels} channels"):
        PaddedConv(3, 4, 3).train()(torch.randn(2, channels, 4, 4))
