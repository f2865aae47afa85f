"""A small network with all that its file says of it."""

import copy
from functools import cache

import torch

from retrain.export.formats.metadata import describe
from retrain.export.formats.shipment import Shipment
from supernet.data_description import DataDescription, Preprocessing
from supernet.network.checkpoint import TrainedNetwork
from supernet.network.network import Network
from supernet.space.arch import Arch, BlockChoice
from supernet.space.mnasnet import MnasSpace

SPACE = MnasSpace(
    base_filters=(8, 16, 16),
    base_layers=(1, 2, 1),
    strides=(1, 2, 1),
    stem=8,
    stem_stride=1,
    head=16,
    resolution=8,
    classes=10,
)
BLOCKS = (
    BlockChoice("sepconv", 5, 0.25, "pool", 1.0, 0),
    BlockChoice("mbconv3", 3, 0.25, "pool", 1.0, 0),
    BlockChoice("conv", 3, 0.0, "identity", 1.0, 0),
)
IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def told_shipment() -> Shipment:
    """A network with statistics that are not those of a fresh one, with shortcuts of all kinds."""
    return copy.deepcopy(_told_shipment())


@cache
def _told_shipment() -> Shipment:
    torch.manual_seed(0)
    spec = SPACE.spec(Arch(BLOCKS))
    network = Network(spec)
    for _ in range(20):
        network(torch.randn(16, 3, 8, 8))
    steps = Preprocessing(9, 8, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    data = DataDescription(("Hund äöü 犬", *"bcdefghij"), digest="ab12", preprocessing=steps)
    trained = TrainedNetwork(spec, {}, data, {"accuracy": 0.5}, {"torch": "2.15"}, None)
    told = describe(trained, data, "classification", {"split": "val", "accuracy": 0.5})
    return Shipment(network.eval(), told)
