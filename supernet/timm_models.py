"""Our networks as timm's models.

``import supernet.timm_models`` registers ``mnasnet_searched``, which timm's factory, and with it
whatever trains or evaluates timm's models, then builds from any arch.json::

    timm.create_model("mnasnet_searched", arch="runs/NAME/arch.json", num_classes=10)

Its state dict has the names of ``network.Network``, which are those of timm's MnasNets. Where a
library takes no more than a name of timm's, ``register("runs/NAME/arch.json", "my_net")`` makes it
one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from timm.layers import BatchNormAct2d, create_classifier
from timm.models import (
    EfficientNet,
    FeatureInfo,
    build_model_with_cfg,
    generate_default_cfgs,
    is_model,
    model_entrypoint,
    register_model,
)
from timm.models._builder import pretrained_cfg_for_features
from timm.models._features import feature_take_indices
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn

from supernet.arch_file import is_file_name, load_spec, read_arch
from supernet.data_description import DataDescription
from supernet.errors import UserError, one_line
from supernet.network.checkpoint import read_trained
from supernet.network.functional import submodule_weights
from supernet.network.network import ACTIVATIONS, initialise, make_stages
from supernet.space.limits import check_count
from supernet.space.published import published
from supernet.space.spec import NetSpec

default_cfgs = generate_default_cfgs(
    {
        # How supernet.data.ImageFolder prepares images by default: ImageNet's mean and
        # standard deviation, evaluation on the central 87.5 % after a bicubic resize.
        "mnasnet_searched": {
            "input_size": (3, 224, 224),
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "conv_stem",
            "classifier": "classifier",
            "paper_name": "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
            "paper_ids": "arXiv:1807.11626",
        }
    }
)


@register_model
def mnasnet_searched(
    pretrained: bool = False, arch: str | Path | Mapping[str, Any] | None = None, **kwargs: Any
) -> SearchedNetwork | SearchedFeatures:
    """A searched or published network, for ``timm.create_model("mnasnet_searched", arch=...)``.

    Its input size and number of classes are the architecture's unless told otherwise. Names of
    classes, mean, standard deviation, interpolation and crop are those of the data that it was
    searched for or trained on, where the file tells them, else ``ImageFolder``'s defaults.

    Args:
        pretrained: load the weights of the checkpoint that ``arch`` names, or those that
            ``pretrained_cfg_overlay=dict(file=...)`` does, another number of classes or channels
            being adapted as timm does; none are published.
        arch: an arch.json; a published name such as ``mnasnet_a1_075``; or a retraining's
            checkpoint, such as ``runs/NAME/checkpoints/best.ckpt``. Or the fields of a NetSpec, as
            config.json in a folder of ``mnasnet card`` holds them.
        kwargs: timm's: num_classes, in_chans, drop_rate, global_pool, bn_eps, bn_momentum, device,
            dtype, features_only and out_indices (all levels by default), pretrained_cfg_overlay.

    Raises:
        UserError: when ``arch`` or a number is missing or not to be had.

    Examples:
        >>> import timm
        >>> model = timm.create_model("mnasnet_searched", arch="mnasnet_small", num_classes=10)
        >>> model.num_classes, model.pretrained_cfg["input_size"]
        (10, (3, 224, 224))
    """
    if arch is None:
        raise UserError(
            "mnasnet_searched needs arch=...: an arch.json, a checkpoint or a published name, such"
            " as mnasnet_a1"
        )
    norms = {name: kwargs.pop(name) for name in ("bn_eps", "bn_momentum") if name in kwargs}
    found, told = _described(arch)
    spec = dataclasses.replace(found, **norms).checked()
    _check_numbers(kwargs)
    side = {"input_size": (3, *[spec.resolution] * 2), "pool_size": (spec.final_size,) * 2}
    own = kwargs.pop("pretrained_cfg_overlay", {}) or {}
    overlay = {**side, "num_classes": spec.classes, **told, **own}
    features_only = kwargs.pop("features_only", False)
    unused: Any = ("num_classes", "global_pool") if features_only else None
    model: Any = build_model_with_cfg(
        SearchedFeatures if features_only else SearchedNetwork,
        "mnasnet_searched",
        pretrained,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=lambda weights, model: plain_names(weights),
        pretrained_strict=not features_only,
        kwargs_filter=unused,
        spec=spec,
        **kwargs,
    )
    if features_only:
        model.pretrained_cfg = model.default_cfg = pretrained_cfg_for_features(model.pretrained_cfg)
    return model


def register(arch: str | Path, name: str) -> None:
    """Give a network a name of its own in timm's factory, for libraries that take nothing else.

    Args:
        arch: as of ``mnasnet_searched``; the file is read again whenever a network is built.
        name: what ``timm.create_model(name)`` then builds, with all options of
            ``mnasnet_searched``, as do others that ask timm, such as segmentation_models_pytorch
            for the encoder ``tu-NAME``. A name that was given here before is given anew.

    Raises:
        UserError: when ``arch`` is not to be had, or the name is timm's own or no identifier.

    Examples:
        >>> import timm
        >>> register("mnasnet_small", "my_net")
        >>> timm.create_model("my_net", num_classes=3).num_classes
        3
    """
    _described(str(arch))
    if not name.isidentifier():
        raise UserError(f"the name is {name!r}, it must be letters, digits and underscores")

    def build(pretrained: bool = False, **kwargs: Any) -> SearchedNetwork | SearchedFeatures:
        return mnasnet_searched(pretrained, arch=arch, **kwargs)

    if is_model(name) and model_entrypoint(name).__qualname__ != build.__qualname__:
        raise UserError(f"timm has a model {name!r} already: give another name")
    build.__name__ = name
    register_model(build)


def _described(arch: str | Path | Mapping[str, Any]) -> tuple[NetSpec, dict[str, Any]]:
    """The network of a file, a name or fields, and what timm's configuration says of it."""
    if isinstance(arch, Mapping):
        return NetSpec.from_dict(dict(arch)), {}
    arch = str(arch)
    if arch.endswith(".ckpt"):
        trained = read_trained(Path(arch))
        if trained.ssdlite is not None:
            raise UserError(f"{arch} holds a detector: name the checkpoint of a classifier")
        of_data = data_config(trained.data) if trained.data else {}
        judged = _sentence("validation", trained.figures, trained.data, trained.versions)
        return trained.spec, {**of_data, "description": judged, "file": arch}
    if arch in published or not is_file_name(arch):
        return load_spec(arch), {}
    found = read_arch(arch)
    of_data = data_config(found.data) if found.data else {}
    figures = {"accuracy": found.accuracy}
    judged = _sentence(found.judged_as, figures, found.data, {})
    return found.spec, {**of_data, "description": judged}


def data_config(data: DataDescription) -> dict[str, Any]:
    """The fields of timm's configuration that data decide; no more than names for those of code."""
    names = {"label_names": data.classes}
    if data.preprocessing is None:
        return names
    steps = data.preprocessing
    crop_pct = steps.crop / steps.resize
    if math.floor(steps.crop / crop_pct) < steps.resize:  # timm's way back, a rounding short
        crop_pct = math.nextafter(crop_pct, 0)
    own = {"mean": steps.mean, "std": steps.std, "interpolation": steps.interpolation}
    return {**names, **own, "crop_pct": crop_pct}


def _sentence(
    split: str,
    figures: Mapping[str, float],
    data: DataDescription | None,
    versions: Mapping[str, str],
) -> str:
    """Accuracy, data and versions, for which timm's configuration has no fields."""
    words = [f"{split} {name} {value:.4f}" for name, value in figures.items()]
    words += [f"data {data.digest}"] if data and data.digest else []
    words += [f"{name} {number}" for name, number in versions.items()]
    return ", ".join(words)


def _check_numbers(kwargs: dict[str, Any]) -> None:
    for name, least in (("num_classes", 0), ("in_chans", 1)):
        check_count(name, kwargs.get(name, least), least)
    if rate := kwargs.pop("drop_path_rate", 0.0):
        raise UserError(
            f"drop_path_rate is {rate}, but these blocks have no stochastic depth: leave it at 0"
            " and give drop_rate, the classifier's dropout"
        )
    if (stride := kwargs.pop("output_stride", 32)) != 32:
        raise UserError(
            f"output_stride is {stride}, but these blocks do not dilate: leave it at 32, and take a"
            " decoder that works on levels of the pyramid, such as U-Net or FPN"
        )


def plain_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict under a Network's names, which a retraining's checkpoint has behind a prefix."""
    return submodule_weights(weights, "network.") or dict(weights)


class _Weights(nn.Module):
    """Loads the state dict of a Network, of a timm network, and of a retraining."""

    absent: ClassVar[tuple[str, ...]] = ()
    """Parts of a whole network that this one lacks."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """``nn.Module``'s.

        Raises:
            UserError: naming the first tensors that do not fit, those of another network.
        """
        named = plain_names(state_dict).items()
        weights = {name: w for name, w in named if name.partition(".")[0] not in self.absent}
        try:
            return super().load_state_dict(weights, strict, assign)
        except RuntimeError as error:
            reason = one_line(error).partition(": ")[2][:200]
            raise UserError(
                f"the weights are of another network ({reason}...): give the arch and the"
                " num_classes that they were trained with"
            ) from None


class SearchedNetwork(_Weights, EfficientNet):
    """timm's EfficientNet with the blocks of a NetSpec; all methods are timm's."""

    def __init__(
        self,
        spec: NetSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # Not EfficientNet's, which builds the blocks of its own grammar behind a stem of stride 2.
        nn.Module.__init__(self)
        _add_trunk(self, spec, in_chans, drop_rate)
        self.feature_info = feature_levels(spec)
        self.stage_ends = [level["stage"] for level in self.feature_info]
        self.conv_head = nn.Conv2d(spec.stages[-1].filters, spec.head, 1, bias=False)
        self.bn2 = _norm_act(spec, spec.head)
        self.num_features, self.num_classes = spec.head, num_classes
        self.global_pool, self.classifier = create_classifier(
            spec.head, num_classes, pool_type=global_pool
        )
        self.head_hidden_size = spec.head * self.global_pool.feat_mult()
        self.apply(initialise)
        self.to(device=device, dtype=dtype)


class SearchedFeatures(_Weights, EfficientNetFeatures):
    """The levels of the feature pyramid, with timm's ``feature_info``."""

    absent = ("conv_head", "bn2", "classifier")

    def __init__(
        self,
        spec: NetSpec,
        out_indices: int | Sequence[int] | None = None,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Build ``spec`` without head and classifier; None takes all levels, n the last n.

        Raises:
            UserError: for a level that the network has not.
        """
        nn.Module.__init__(self)
        _add_trunk(self, spec, in_chans, drop_rate)
        levels = feature_levels(spec)
        self.feature_info = FeatureInfo(levels, _level_indices(out_indices, len(levels)))
        chosen = self.feature_info.get_dicts()
        self._stage_out_idx = {level["stage"]: level["index"] for level in chosen}
        self.feature_hooks = None
        self.apply(initialise)
        self.to(device=device, dtype=dtype)


def _add_trunk(network: Any, spec: NetSpec, in_chans: int, drop_rate: float) -> None:
    network.in_chans, network.drop_rate, network.grad_checkpointing = in_chans, drop_rate, False
    network.conv_stem = nn.Conv2d(in_chans, spec.stem, 3, spec.stem_stride, 1, bias=False)
    network.bn1 = _norm_act(spec, spec.stem)
    network.blocks = make_stages(spec)


def _norm_act(spec: NetSpec, channels: int) -> nn.Module:
    act = ACTIVATIONS[spec.activation]
    return BatchNormAct2d(channels, spec.bn_eps, spec.bn_momentum, act_layer=act, inplace=True)


def feature_levels(spec: NetSpec) -> list[dict[str, Any]]:
    """The last stage before each halving, as timm lists them.

    Returns:
        For each level ``module`` (its name), ``num_chs``, ``stage`` (0 is the stem) and
        ``reduction`` (px of the image for one of the level).
    """
    modules = ["bn1", *(f"blocks.{number}" for number in range(len(spec.stages)))]
    following = [*spec.strides[1:], math.inf]
    return [
        {"module": module, "num_chs": channels, "stage": number, "reduction": reduction}
        for number, (module, channels, reduction) in enumerate(
            zip(modules, spec.widths, spec.strides, strict=True)
        )
        if following[number] > reduction
    ]


def _level_indices(out_indices: int | Sequence[int] | None, number: int) -> tuple[int, ...]:
    chosen = list(out_indices) if isinstance(out_indices, Sequence) else out_indices
    try:
        return tuple(feature_take_indices(number, chosen)[0])
    except (AssertionError, ValueError):  # an empty sequence has no greatest index
        last = isinstance(out_indices, int)
        allowed = f"1 to {number}" if last else f"indices from {-number} to {number - 1}"
        raise UserError(
            f"out_indices is {out_indices}, this network has {number} levels: give {allowed}"
        ) from None
