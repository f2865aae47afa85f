"""What tests of our networks in timm share."""

import timm
import torch

import supernet.timm_models  # noqa: F401  registers the model
from supernet.arch_file import load_spec
from supernet.network.network import Network


def create(arch, **settings):
    return timm.create_model("mnasnet_searched", arch=arch, **settings)


def trained(arch):
    """The arch's Network with statistics that are not those of a fresh one."""
    network = Network(load_spec(arch))
    side = network.spec.resolution
    for _ in range(20):
        network(torch.randn(16, 3, side, side))
    return network.eval()
