"""A synthetic additive device with known costs, which stands in for the machine."""

import functools

import numpy as np

from supernet.cost.counts import count_layer
from supernet.cost.timed_layers import StageLayer, timed_layers
from supernet.latency.this_machine import table_for
from supernet.space.mnasnet import MnasSpace
from supernet.space.spec import NetSpec

TINY = MnasSpace(
    ops=("conv", "mbconv3"),
    kernels=(3, 5),
    ses=(0.0, 0.25),
    skips=("none", "identity", "pool"),
    filters=(0.75, 1.25),
    layers=(0, 1),
    base_filters=(16, 32),
    base_layers=(1, 2),
    strides=(1, 2),
    resolution=8,
    stem_stride=1,
    stem=16,
    head=32,
    classes=10,
)


@functools.cache
def true_ms(part):
    """What a part adds to a network on the synthetic device."""
    if isinstance(part, NetSpec):
        return sum(map(true_ms, timed_layers(part)))
    if isinstance(part, StageLayer):
        return 0.02 + 2e-6 * count_layer(part.layer).macs + 0.01 * (part.layer.skip == "pool")
    return 0.05 + 1e-5 * part.outputs


class SyntheticDevice:
    """Adds parts up; alone a part costs a call more, and its first run twice as much.

    Args:
        noise: standard deviation of the logarithm of a run's time.
        spikes: share of the runs that something interrupts.
    """

    def __init__(self, noise=0.0, spikes=0.0):
        self.noise, self.spikes = noise, spikes
        self.rng = np.random.default_rng(0)
        self.slowness, self.subjects, self.orders, self.loads = 1.0, [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def description(self):
        return {
            "backend": "synthetic",
            "device": "adder",
            "runtime": "runtime 1",
            "threads": 1,
            "precision": "fp32",
            "clock": "cpu",
        }

    def load(self, subjects):
        self.subjects = list(subjects)
        self.loads.append(self.subjects)

    def visit(self, order):
        self.orders.append(list(order))
        return [[self._run(self.subjects[i], run) for run in range(2)] for i in order]

    def _run(self, subject, run):
        alone = not isinstance(subject, NetSpec)
        ms = 1.2 * true_ms(subject) + 0.03 if alone else true_ms(subject)
        ms *= self.slowness * (2.0 if run == 0 else 1.0)
        ms *= np.exp(self.noise * self.rng.standard_normal())
        return float(ms * (5 if self.rng.random() < self.spikes else 1))


def build(folder, device=None, space=TINY, **options):
    device = device or SyntheticDevice()
    return table_for(
        space,
        options.pop("references", []),
        folder,
        progress=False,
        machine=lambda: device,
        **options,
    )


class Refusing(SyntheticDevice):
    """A cached table must not be measured again."""

    def load(self, subjects):
        raise AssertionError("measured again")
