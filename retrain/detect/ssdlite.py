"""SSDLite on the features of any network: MnasNet's transfer to COCO (sec. 6.3, table 3).

The head, the default boxes, the loss and the choice of boxes are torchvision's; what is ours is
where they are attached to a network.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation

from supernet.errors import UserError
from supernet.network.network import Network, initialise

STRIDES = (4, 8, 16, 32)
"""Strides of the feature maps that detectors are usually given, relative to the image."""
SSDLITE_RATIOS = [2, 3]
"""Ratios of default boxes, width to height and height to width; two more are square (SSD,
sec. 2.2)."""

Norm = Callable[[int], nn.Module]
"""Makes the batch norm of so many channels."""
Maps = OrderedDict[str, Tensor]
"""Feature maps (B, C, H, W), fine to coarse, under names that say where they come from."""


@dataclass(frozen=True)
class SSDLite:
    """Where SSDLite is attached, and what it adds. The defaults are MobileNetV2's, sec. 6.2.

    Raises:
        UserError: naming the value that describes no detector.
    """

    taps: tuple[int, ...] | Literal["paper"] = "paper"
    """Strides of the network's features that get a head, such as [8, 16, 32], each the output of
    the last layer of that stride; or paper: the expansion of the layer that reaches the largest
    stride, and the head convolution."""
    extras: tuple[int, ...] = (512, 256, 256, 128)
    """Channels of the blocks that follow, each halving the map and with a head of its own."""
    scales: tuple[float, float] = (0.2, 0.95)
    """Sides of the default boxes of the finest and of the coarsest map over the image's."""

    def __post_init__(self) -> None:
        if self.taps != "paper" and not _ascending((0, *self.taps)):
            raise UserError(
                f"ssdlite.taps is {list(self.taps)}, it must be ascending strides such as"
                " [8, 16, 32], or paper"
            )
        if not self.taps or min(self.extras, default=1) < 1:
            raise UserError(
                f"ssdlite.taps is {self.taps} and ssdlite.extras is {self.extras}: give at least"
                " one tap, and channels of at least 1"
            )
        if not _ascending((0, *self.scales)) or self.scales[1] > 1:
            raise UserError(
                f"ssdlite.scales is {list(self.scales)}, it must be two ascending numbers above 0"
                " and at most 1"
            )


def _ascending(values: Sequence[float]) -> bool:
    return all(one < other for one, other in itertools.pairwise(values))


class Trunk(nn.Module):
    """The first stages of a network, under ``Network``'s names; they share its weights.

    Its feature maps are float32 also where the network computes in bf16: torchvision gives default
    boxes the type of the features, and bf16 places them a pixel wrong.
    """

    out_channels: list[int]
    """Channels of every feature map."""

    def __init__(self, network: Network, num_stages: int) -> None:
        super().__init__()
        self.spec = network.spec
        self.act, self.conv_stem, self.bn1 = network.act, network.conv_stem, network.bn1
        self.blocks = network.blocks[:num_stages]

    def stem(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the first stage's input."""
        # Depthwise convolutions run several times faster so, on CPUs and in bf16 on GPUs.
        images = images.contiguous(memory_format=torch.channels_last)
        return self.act(self.bn1(self.conv_stem(images)))


class StrideFeatures(Trunk):
    """The output of a network's last layer of each stride; strides ascend and count from the image.

    Layers beyond the last stride that is asked for are left out, and so are the head convolution
    and the classifier.

    Raises:
        UserError: naming a stride that no layer of the network has.
    """

    def __init__(self, network: Network, strides: Sequence[int] = STRIDES) -> None:
        last = {stride: place for place, stride in enumerate(network.spec.strides)}
        missing = [stride for stride in strides if stride not in last]
        if missing:
            had = list(map(str, last))
            raise UserError(
                f"no features of stride {missing[0]}: with stem stride {network.spec.stem_stride}"
                f" the network has those of {', '.join(had)}; ask for these, such as"
                f" --model.ssdlite.taps [{','.join(had[-2:])}]"
            )
        names = {last[stride]: str(stride) for stride in strides}
        super().__init__(network, max(names))
        self.names = names
        """Names of the maps by the number of stages behind them."""
        self.out_channels = [network.spec.widths[index] for index in self.names]

    def forward(self, images: Tensor) -> Maps:
        """Images (B, 3, H, W) to maps (B, C, H / stride, W / stride), named by their stride."""
        x, maps = images, OrderedDict()
        for index, step in enumerate((self.stem, *self.blocks)):
            x = step(x)
            if index in self.names:
                maps[self.names[index]] = x.float()
        return maps


class PaperFeatures(Trunk):
    """The two maps that MobileNetV2 (sec. 6.2) and MnasNet (sec. 6.3) give to SSDLite.

    The first is what the depthwise convolution of the last striding layer sees, its expansion (the
    layer's input, where it has none): 576 channels at stride 16 in MobileNetV2, 672 in MnasNet-A1.
    The second is the head convolution, 1,280 channels at stride 32. The classifier is left out.

    Raises:
        UserError: when no stage of the network strides.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network, len(network.blocks))
        striding = [n for n, stage in enumerate(network.spec.stages) if stage.stride > 1]
        if not striding:
            raise UserError("no stage of the network strides: give --model.ssdlite.taps strides")
        self.conv_head, self.bn2 = network.conv_head, network.bn2
        last = striding[-1]
        layer, *_ = list(network.spec.stage_layers())[last]
        expanded = layer.hidden if layer.op == "mbconv" else layer.inputs
        self.out_channels = [expanded, network.spec.head]
        self.tapped = f"blocks.{last}.0.{'conv' if layer.op == 'conv' else 'conv_dw'}"
        """Name of the convolution that reaches the largest stride."""
        strides = network.spec.strides
        self.strides = (str(strides[last]), str(strides[-1]))
        """Names of the two maps."""

    def forward(self, images: Tensor) -> Maps:
        """Images (B, 3, H, W) to the two maps, named by their stride."""
        with _inputs_of(self.get_submodule(self.tapped)) as seen:
            x = self.blocks(self.stem(images))
        x = self.act(self.bn2(self.conv_head(x)))
        return OrderedDict(zip(self.strides, (seen[0].float(), x.float()), strict=True))


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module is given meanwhile: a layer's expansion is computed once, by the layer."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


class ExtraMaps(nn.Module):
    """A network's maps and those of extra blocks, ``widths`` wide (MobileNetV2, sec. 6.2)."""

    def __init__(self, features: Trunk, widths: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.features = features
        self.out_channels = [*features.out_channels, *widths]
        inputs = self.out_channels[-1 - len(widths) :]
        self.extras = nn.ModuleList(
            _extra_block(*pair, norm) for pair in itertools.pairwise(inputs)
        )
        self.extras.apply(initialise)

    def forward(self, images: Tensor) -> Maps:
        """Images (B, 3, H, W) to all maps, each half the side of the one before."""
        maps = self.features(images)
        for number, block in enumerate(self.extras):
            maps[f"extra{number}"] = block(next(reversed(maps.values()))).float()
        return maps


def _extra_block(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    """SSD's 1x1 convolution to half the width and strided 3x3 one, the latter made separable."""
    conv = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
    half = max(1, outputs // 2)
    return nn.Sequential(
        conv(inputs, half, kernel_size=1),
        conv(half, half, kernel_size=3, stride=2, groups=half),
        conv(half, outputs, kernel_size=1),
    )


def make_backbone(network: Network, settings: SSDLite, norm: Norm) -> ExtraMaps:
    """All feature maps that a head is attached to."""
    taps = settings.taps
    features = PaperFeatures(network) if taps == "paper" else StrideFeatures(network, taps)
    return ExtraMaps(features, settings.extras, norm)


class Detector(SSD):
    """torchvision's SSD on the maps of a network."""

    backbone: ExtraMaps


def make_detector(network: Network, settings: SSDLite) -> Detector:
    """A network with SSDLite, for ``network.spec``'s classes and the background.

    torchvision's detector in training takes lists of images (3, R, R) and of targets (``boxes``
    (N, 4) as x1, y1, x2, y2 in pixels, and ``labels`` (N,), 1 for the first class) and gives its
    losses; in evaluation it takes images and gives ``boxes``, ``labels`` and ``scores`` of each.
    Images come normalised, as the network was trained on them. At most 100 boxes of an image are
    kept, as many as COCO counts; the thresholds are those of torchvision's SSDLite.

    Raises:
        UserError: when the network lacks what ``settings`` tap.
    """
    spec = network.spec
    norm = partial(nn.BatchNorm2d, eps=spec.bn_eps, momentum=spec.bn_momentum)
    backbone = make_backbone(network, settings, norm)
    ratios = [SSDLITE_RATIOS] * len(backbone.out_channels)
    boxes = DefaultBoxGenerator(ratios, *settings.scales)
    classes = spec.classes + 1
    head = SSDLiteHead(backbone.out_channels, boxes.num_anchors_per_location(), classes, norm)
    detector = Detector(
        backbone,
        boxes,
        (spec.resolution, spec.resolution),
        classes,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        head=head,
        score_thresh=0.001,
        nms_thresh=0.55,
        detections_per_img=100,
        topk_candidates=300,
    )
    return detector.to(memory_format=torch.channels_last)
