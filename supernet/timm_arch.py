"""What timm builds without us: arch_defs of our networks, and its names of the published ones."""

import re
from functools import partial

import timm
from timm.models import EfficientNet
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from supernet.errors import UserError
from supernet.network.network import ACTIVATIONS
from supernet.space.spec import NetSpec
from supernet.space.stage import make_divisible

_FAMILIES = {"semnasnet": "mnasnet_a1", "mnasnet": "mnasnet_b1", "mobilenetv2": "mobilenet_v2"}
_WAY = ': use timm.create_model("mnasnet_searched", arch=...), which has our blocks'


def timm_arch_def(spec: NetSpec) -> list[list[str]]:
    """The stages in timm's grammar, one stack each, for ``decode_arch_def``.

    Raises:
        UserError: naming what timm's EfficientNet cannot be: a stem of another stride than 2, a
            stage that strides by more than 2, more than 32 px of the image for one of the last
            stage (timm would dilate), a hidden width that it would round, and what
            ``NetSpec.block_strings`` refuses (pooling, squeeze-and-excitation on a convolution).

    Examples:
        >>> from supernet.space.published import published_spec
        >>> timm_arch_def(published_spec("mnasnet_b1"))[0]
        ['ds_r1_k3_s1_c16_noskip']
    """
    places: list[tuple[str, int, tuple[int, ...]]] = [("stem", spec.stem_stride, (2,))]
    places += [(f"stage {n}", stage.stride, (1, 2)) for n, stage in enumerate(spec.stages, 1)]
    for place, stride, allowed in places:
        if stride not in allowed:
            known = " or ".join(map(str, allowed))
            raise UserError(f"{place}: stride is {stride}, timm's EfficientNet has {known}{_WAY}")
    if spec.strides[-1] > 32:
        raise UserError(f"the total stride is {spec.strides[-1]}, timm dilates beyond 32{_WAY}")
    for number, layers in enumerate(spec.stage_layers(), 1):
        for hidden in (layer.hidden for layer in layers if layer.op == "mbconv"):
            if make_divisible(hidden) != hidden:
                raise UserError(
                    f"stage {number}: timm rounds its hidden width, {hidden}, to"
                    f" {make_divisible(hidden)}{_WAY}"
                )
    return [[text] for text in spec.block_strings(grammar="timm")]


def timm_network(spec: NetSpec) -> EfficientNet:
    """``spec`` built by timm alone, where ``timm_arch_def`` allows; it takes our state dict.

    Examples:
        >>> from supernet.network.network import Network
        >>> from supernet.space.published import published_spec
        >>> spec = published_spec("mnasnet_small")
        >>> network = timm_network(spec)
        >>> network.load_state_dict(Network(spec).state_dict())
        <All keys matched successfully>
    """
    return EfficientNet(
        decode_arch_def(timm_arch_def(spec)),
        num_classes=spec.classes,
        num_features=spec.head,
        stem_size=spec.stem,
        round_chs_fn=int,  # the widths are what they are
        act_layer=ACTIVATIONS[spec.activation],
        norm_layer=partial(nn.BatchNorm2d, eps=spec.bn_eps, momentum=spec.bn_momentum),
        # Ours is ReLU also in a network of ReLU6.
        se_layer=partial(SqueezeExcite, force_act_layer=nn.ReLU),
    )


def timm_names() -> dict[str, str]:
    """Our name of every published network that timm registers too, with timm's."""
    names = {"mnasnet_small": "mnasnet_small"}
    for theirs in timm.list_models():
        if match := re.fullmatch(r"(semnasnet|mnasnet|mobilenetv2)_(\d{3}d?)", theirs):
            names[f"{_FAMILIES[match[1]]}_{match[2]}".removesuffix("_100")] = theirs
    return names
