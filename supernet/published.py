"""The published networks at width 1.0, 224 px and 1000 classes. No torch.

Sources: tensorflow/tpu models/official/mnasnet (A1, B1, small: MnasNet, figure 7 and table 4) and
MobileNetV2, table 2. timm's semnasnet_100, mnasnet_100, mnasnet_small and mobilenetv2_100 are the
same networks.
"""

from __future__ import annotations

from supernet.errors import UserError
from supernet.spec import NetSpec, Stage


def _stages(*rows: tuple[int, int, int, int, int, float, str]) -> tuple[Stage, ...]:
    """Rows of repeats, kernel, stride, expansion (1: sepconv), filters, SE ratio, skip."""
    return tuple(
        Stage("sepconv" if e == 1 else "mbconv", k, e, se, skip, o, r, s)
        for r, k, s, e, o, se, skip in rows
    )


def _network(stem: int, stages: tuple[Stage, ...], activation: str = "relu") -> NetSpec:
    return NetSpec(stem, 2, stages, 1280, 1000, 224, activation, bn_eps=1e-5)


# fmt: off
published: dict[str, NetSpec] = {
    "mnasnet_a1": _network(32, _stages(
        # r  k  s  e  out  se    skip
        (1, 3, 1, 1, 16, 0.0, "none"),
        (2, 3, 2, 6, 24, 0.0, "identity"),
        (3, 5, 2, 3, 40, 0.25, "identity"),
        (4, 3, 2, 6, 80, 0.0, "identity"),
        (2, 3, 1, 6, 112, 0.25, "identity"),
        (3, 5, 2, 6, 160, 0.25, "identity"),
        (1, 3, 1, 6, 320, 0.0, "none"),
    )),
    "mnasnet_b1": _network(32, _stages(
        (1, 3, 1, 1, 16, 0.0, "none"),
        (3, 3, 2, 3, 24, 0.0, "identity"),
        (3, 5, 2, 3, 40, 0.0, "identity"),
        (3, 5, 2, 6, 80, 0.0, "identity"),
        (2, 3, 1, 6, 96, 0.0, "identity"),
        (4, 5, 2, 6, 192, 0.0, "identity"),
        (1, 3, 1, 6, 320, 0.0, "none"),
    )),
    "mnasnet_small": _network(8, _stages(
        (1, 3, 1, 1, 8, 0.0, "identity"),
        (1, 3, 2, 3, 16, 0.0, "none"),
        (2, 3, 2, 6, 16, 0.0, "identity"),
        (4, 5, 2, 6, 32, 0.25, "identity"),
        (3, 3, 1, 6, 32, 0.25, "identity"),
        (3, 5, 2, 6, 88, 0.25, "identity"),
        (1, 3, 1, 6, 144, 0.0, "none"),
    )),
    "mobilenet_v2": _network(32, _stages(
        (1, 3, 1, 1, 16, 0.0, "none"),
        (2, 3, 2, 6, 24, 0.0, "identity"),
        (3, 3, 2, 6, 32, 0.0, "identity"),
        (4, 3, 2, 6, 64, 0.0, "identity"),
        (3, 3, 1, 6, 96, 0.0, "identity"),
        (3, 3, 2, 6, 160, 0.0, "identity"),
        (1, 3, 1, 6, 320, 0.0, "none"),
    ), activation="relu6"),
}
# fmt: on


def published_spec(name: str) -> NetSpec:
    """Look a published network up.

    Raises:
        UserError: with the known names, when there is none of this name.
    """
    if name not in published:
        known = ", ".join(published)
        raise UserError(f"unknown network {name!r}: neither a file nor one of {known}")
    return published[name]
