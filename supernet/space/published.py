"""The published networks at width 1.0, 224 px and 1000 classes. No torch.

Sources: tensorflow/tpu models/official/mnasnet (A1, B1, small: MnasNet, figure 7 and table 4) and
MobileNetV2, table 2. timm's semnasnet_100, mnasnet_100, mnasnet_small and mobilenetv2_100 are the
same networks; the batch norms' epsilon, 1e-5, is theirs.
"""

import math
import re
from dataclasses import replace

from supernet.errors import UserError
from supernet.space.spec import NetSpec

published: dict[str, NetSpec] = {
    "mnasnet_a1": NetSpec.from_block_strings(
        [
            "r1_k3_s11_e1_i32_o16_noskip",
            "r2_k3_s22_e6_i16_o24",
            "r3_k5_s22_e3_i24_o40_se0.25",
            "r4_k3_s22_e6_i40_o80",
            "r2_k3_s11_e6_i80_o112_se0.25",
            "r3_k5_s22_e6_i112_o160_se0.25",
            "r1_k3_s11_e6_i160_o320",
        ],
        bn_eps=1e-5,
    ),
    "mnasnet_b1": NetSpec.from_block_strings(
        [
            "r1_k3_s11_e1_i32_o16_noskip",
            "r3_k3_s22_e3_i16_o24",
            "r3_k5_s22_e3_i24_o40",
            "r3_k5_s22_e6_i40_o80",
            "r2_k3_s11_e6_i80_o96",
            "r4_k5_s22_e6_i96_o192",
            "r1_k3_s11_e6_i192_o320_noskip",
        ],
        bn_eps=1e-5,
    ),
    # The official code says i16 in the first block, behind a stem of 8, which switches its
    # shortcut off; timm, whose weights people use, has the shortcut.
    "mnasnet_small": NetSpec.from_block_strings(
        [
            "r1_k3_s11_e1_i8_o8",
            "r1_k3_s22_e3_i8_o16",
            "r2_k3_s22_e6_i16_o16",
            "r4_k5_s22_e6_i16_o32_se0.25",
            "r3_k3_s11_e6_i32_o32_se0.25",
            "r3_k5_s22_e6_i32_o88_se0.25",
            "r1_k3_s11_e6_i88_o144",
        ],
        bn_eps=1e-5,
    ),
    "mobilenet_v2": NetSpec.from_block_strings(
        [
            "r1_k3_s11_e1_i32_o16",
            "r2_k3_s22_e6_i16_o24",
            "r3_k3_s22_e6_i24_o32",
            "r4_k3_s22_e6_i32_o64",
            "r3_k3_s11_e6_i64_o96",
            "r3_k3_s22_e6_i96_o160",
            "r1_k3_s11_e6_i160_o320",
        ],
        activation="relu6",
        bn_eps=1e-5,
        head_widens=True,
    ),
}

_DEPTHS = {"mobilenet_v2_110d": 1.2, "mobilenet_v2_120d": 1.4}
"""timm's MobileNetV2s that are deeper as well as wider, with their depth multipliers."""


def published_spec(name: str) -> NetSpec:
    """A published network by its name, alone or with a width multiplier as timm spells it.

    Such are ``mnasnet_a1``, ``mnasnet_a1_075`` (0.75 times as wide), and timm's
    ``mobilenet_v2_110d`` and ``mobilenet_v2_120d``, which are deeper too.

    Raises:
        UserError: with the known names, when there is none of this name.

    Examples:
        >>> published_spec("mnasnet_a1").block_strings()[1]
        'r2_k3_s22_e6_i16_o24'
        >>> published_spec("mnasnet_a1_075").widths[:3]
        [24, 16, 24]
    """
    if name in published:
        return published[name]
    match = re.fullmatch(r"(.+)_(\d{3})(d?)", name)
    if not match or match[1] not in published or (match[3] and name not in _DEPTHS):
        known = ", ".join((*published, *_DEPTHS))
        raise UserError(
            f"unknown network {name!r}: neither a file nor one of {known}, nor one of a width such"
            " as mnasnet_a1_075"
        )
    plain = published[match[1]]
    scaled = plain.scaled(int(match[2]) / 100)
    if not match[3]:
        return scaled
    # Repeats rounded up; stem, head and the ends' depths as they are (timm's fix_stem_head).
    first, *middle, last = scaled.stages
    deeper = [replace(one, repeats=math.ceil(one.repeats * _DEPTHS[name])) for one in middle]
    return replace(plain, stages=(first, *deeper, last))
