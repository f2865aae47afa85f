"""Stages as strings: the grammar of the official MnasNet code, and timm's. No torch.

Official (tensorflow/tpu, models/official/mnasnet): tokens in any order, joined by ``_``::

    r3_k5_s22_e3_i24_o40_se0.25    repeats, kernel, strides, expansion, in, out, SE ratio
    r1_k3_s11_e1_i32_o16_noskip    expansion 1 is a separable convolution; no shortcut

Ours adds two words to it: ``conv`` (a plain convolution) and ``pool`` (a pooling shortcut on every
layer). Without ``noskip`` or ``pool`` the shortcut is the identity, where widths and strides allow.

timm (timm.models._efficientnet_builder): the op comes first, the input width is left out::

    ir_r3_k5_s2_e3_c40_se0.25      mbconv; ds_... is sepconv, cn_... a plain convolution
    cn_r1_k3_s1_c16_skip           whose identity shortcut has to be asked for
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from supernet.errors import UserError
from supernet.files.reading import short
from supernet.space.limits import MAX_SE
from supernet.space.stage import Stage

TIMM_OPS = {"ds": "sepconv", "ir": "mbconv", "cn": "conv"}
_UNSPELT_SKIP = {"cn": "none"}
"""The shortcut of a string without a word for it, where that is not the identity."""
_WHOLE = {
    "r": "repeats",
    "k": "kernel",
    "s": "stride",
    "e": "expansion",
    "i": "input filters",
    "o": "output filters",
    "c": "output filters",
}
_WORDS = ("noskip", "skip", "pool", "conv")
_GRAMMARS = {
    "official": (("r", "k", "s", "e", "i", "o"), ("se", "noskip", "pool", "conv")),
    "ds": (("r", "k", "s", "c"), ("e", "se", "noskip")),
    "ir": (("r", "k", "s", "e", "c"), ("se", "noskip")),
    "cn": (("r", "k", "s", "c"), ("e", "skip", "noskip")),
}
"""The tokens that a string of each kind must and may hold."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?")


def spell(stage: Stage, inputs: int) -> str:
    """A stage behind ``inputs`` channels in the official grammar with our two words."""
    first = f"r{stage.repeats}_k{stage.kernel}_s{stage.stride}{stage.stride}"
    se = f"_se{stage.se!r}" if stage.se else ""
    skip = {"none": "_noskip", "pool": "_pool", "identity": ""}[stage.skip]
    conv = "_conv" if stage.op == "conv" else ""
    return f"{first}_e{stage.expand}_i{inputs}_o{stage.filters}{se}{skip}{conv}"


def spell_for_timm(stage: Stage, inputs: int) -> str:
    """A stage in timm's grammar.

    Raises:
        UserError: for what timm's blocks cannot do: a pooling shortcut, SE on a plain convolution,
            or an SE width that timm would round up where MnasNet's code cuts.
    """
    if stage.skip == "pool":
        raise UserError("timm's blocks have no pooling shortcut")
    if stage.op == "conv" and stage.se:
        raise UserError("timm's plain convolution has no squeeze-and-excitation")
    for width in {inputs, stage.filters} if stage.repeats > 1 else {inputs}:
        if stage.se and round(width * stage.se) != max(1, int(width * stage.se)):
            raise UserError(
                f"timm rounds the squeeze of {width} channels at ratio {stage.se!r} to"
                f" {round(width * stage.se)}, MnasNet's code cuts it to {int(width * stage.se)}"
            )
    op = next(name for name, known in TIMM_OPS.items() if known == stage.op)
    first = f"{op}_r{stage.repeats}_k{stage.kernel}_s{stage.stride}"
    expand = f"_e{stage.expand}" if op == "ir" else ""
    se = f"_se{stage.se!r}" if stage.se else ""
    words = {"none": "_noskip", "identity": "_skip", _UNSPELT_SKIP.get(op, "identity"): ""}
    return f"{first}{expand}_c{stage.filters}{se}{words[stage.skip]}"


def read_block_strings(strings: Sequence[str], stem: int = 0) -> tuple[int, tuple[Stage, ...]]:
    """Stages from their strings, each in either grammar.

    An input width that contradicts the stage before is an error, but for a separable convolution
    of one layer: there the official code uses it only to decide on the shortcut, which then does
    not act (its mnasnet_small tells i16 behind 8 channels).

    Returns:
        The stem's channels, from the first string unless ``stem`` gives them, 0 where neither
        does; the stages.

    Raises:
        UserError: naming the string, and the token and its position where it is malformed.

    Examples:
        >>> stem, stages = read_block_strings(["r2_k5_s22_e3_i16_o24_se0.25"])
        >>> stem, stages[0].kernel, stages[0].filters
        (16, 5, 24)
    """
    stages: list[Stage] = []
    for number, text in enumerate(strings, 1):
        try:
            tokens = _read_tokens(text)
            if number == 1:
                stem = stem or tokens.whole("i")
            inputs = stages[-1].filters if stages else stem
            stages.append(_settle_inputs(_stage(tokens), tokens, inputs))
        except UserError as error:
            raise UserError(f"block string {number}, {short(text)}: {error}") from None
    return stem, tuple(stages)


@dataclass(frozen=True)
class _Tokens:
    """The tokens of one string: position from 1 and what follows the letters, for each key."""

    kind: str
    found: dict[str, tuple[int, str]]

    def whole(self, key: str) -> int:
        """A whole number of at least 1, and 0 where the token is absent.

        The two digits of the official strides, down and across, must be alike.
        """
        if key not in self.found:
            return 0
        _, text = self.found[key]
        if key == "s" and self.kind == "official":
            if len(text) != 2 or text[0] != text[1]:
                self.refuse(key, "strides are one digit given twice")
            text = text[0]
        # Digits of other scripts are decimal to Python too.
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
            self.refuse(key, f"{_WHOLE[key]} must be a whole number of at least 1")
        return int(text)

    def ratio(self) -> float:
        """The squeeze-and-excitation ratio, 0 where it is absent."""
        _, text = self.found.get("se", (0, "0"))
        if not _NUMBER.fullmatch(text) or float(text) > MAX_SE:
            self.refuse("se", f"the ratio must be a finite number from 0 to {MAX_SE:g}")
        return float(text)

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Raise a UserError that names the token of ``key`` and its position."""
        position, text = self.found[key]
        raise UserError(f"token {position}, {short(key + text)}: {reason}")


def _read_tokens(text: str) -> _Tokens:
    first, *rest = text.split("_")
    kind = first if first in TIMM_OPS else "official"
    needed, optional = _GRAMMARS[kind]
    found: dict[str, tuple[int, str]] = {}
    words = [first, *rest] if kind == "official" else rest
    for position, word in enumerate(words, 1 if kind == "official" else 2):
        match = re.fullmatch(r"(se|[a-z])([0-9].*)", word)
        key, value = (word, "") if word in _WORDS else match.groups() if match else (None, "")
        if key not in (*needed, *optional):
            known = ", ".join((*needed, *optional))
            raise UserError(f"token {position}, {short(word)}, is unknown; known here are {known}")
        if key in found:
            raise UserError(f"token {position}, {short(word)}, repeats token {found[key][0]}")
        found[key] = (position, value)
    missing = [key for key in needed if key not in found]
    if missing:
        raise UserError(f"token {missing[0]} ({_WHOLE[missing[0]]}) is missing")
    return _Tokens(kind, found)


def _stage(tokens: _Tokens) -> Stage:
    found, expand = tokens.found, tokens.whole("e") or 1
    op = TIMM_OPS.get(tokens.kind) or ("conv" if "conv" in found else "sepconv")
    if tokens.kind == "official" and op == "sepconv" and expand > 1:
        op = "mbconv"
    if (op == "mbconv") != (expand > 1):
        tokens.refuse("e", f"{op} expands by {'2 or more' if op == 'mbconv' else '1'}")
    if tokens.whole("k") % 2 == 0:
        tokens.refuse("k", "kernel must be odd")
    return Stage(
        op=op,
        kernel=tokens.whole("k"),
        expand=expand,
        se=tokens.ratio(),
        skip=_skip(tokens),
        filters=tokens.whole("o" if tokens.kind == "official" else "c"),
        repeats=tokens.whole("r"),
        stride=tokens.whole("s"),
    )


def _skip(tokens: _Tokens) -> str:
    words = [word for word in ("skip", "noskip", "pool") if word in tokens.found]
    if len(words) > 1:
        tokens.refuse(words[1], f"it contradicts {words[0]}")
    unspelt = _UNSPELT_SKIP.get(tokens.kind, "identity")
    return {"skip": "identity", "noskip": "none", "pool": "pool", "": unspelt}["".join(words)]


def _settle_inputs(stage: Stage, tokens: _Tokens, inputs: int) -> Stage:
    if tokens.whole("i") in (0, inputs):
        return stage
    if stage.op != "sepconv" or stage.repeats > 1 or stage.skip == "pool":
        tokens.refuse("i", f"{inputs} channels come in from what is before")
    return replace(stage, skip="none")
