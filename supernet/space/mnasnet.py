"""MnasSpace: the factorised hierarchical search space of MnasNet (sec. 4.1). No torch.

``mnasnet show NAME|FILE`` prints a network as a table, ``compare`` several.
"""

import dataclasses
import itertools
import math
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from supernet.errors import UserError, check_range
from supernet.files.reading import read_as, read_yaml, short
from supernet.files.shipped import config_file
from supernet.space.arch import (
    DECISIONS,
    EXPANSION,
    VALUE_FIELDS,
    Arch,
    BlockBase,
    BlockChoice,
    Restriction,
)
from supernet.space.limits import MAX_MULTIPLIER, MAX_SE, MOST, check_count, check_size
from supernet.space.published import published, published_spec
from supernet.space.spec import NetSpec
from supernet.space.stage import SKIPS, Stage, make_divisible, squeeze_width


@dataclass(frozen=True)
class MnasSpace:
    """Settings that turn an Arch into a network; the defaults are the paper's space.

    Decisions of ours where the paper is silent (docs/space.md has the reasons):

    * The paper lists three ops and 432 choices per block; 432, 4 x 2 x 2 x 3 x 3 x 3, needs four
      ops, so the inverted bottleneck counts twice, with expansion 3 and 6.
    * ``layers``: at least 1, because a block of no layers could neither stride nor widen.
    * ``filters``: rounded to ``divisor`` as MobileNetV2 does; a setting, since rounding merges
      choices at small widths.
    * ``skip`` identity acts on layers of stride 1 and equal widths; pool acts on every layer.
    * Skips are listed with ``none`` first, so that a canonical code spells an identity that acts
      nowhere as ``none``.

    Raises:
        UserError: when a setting describes no network, naming it.

    Examples:
        >>> space = MnasSpace(width=0.35, resolution=32, classes=10)
        >>> space.num_blocks, len(space.decision_sizes)
        (7, 42)
        >>> arch = next(space.samples(seed=0))
        >>> space.spec(arch).block_strings()[0]
        'r1_k5_s11_e6_i16_o8'
    """

    ops: tuple[str, ...] = ("conv", "sepconv", "mbconv3", "mbconv6")
    """Kinds of layers: conv, sepconv, mbconv3 and mbconv6, by their expansion."""
    kernels: tuple[int, ...] = (3, 5)
    """Sides of the kernels of a block's layers: 3, 5 or 7."""
    ses: tuple[float, ...] = (0.0, 0.25)
    """Squeeze-and-excitation widths over a layer's input width; 0 is off."""
    skips: tuple[str, ...] = ("none", "identity", "pool")
    """Shortcuts around a layer: none, identity or pool."""
    filters: tuple[float, ...] = (0.75, 1.0, 1.25)
    """Multipliers of the base widths."""
    layers: tuple[int, ...] = (-1, 0, 1)
    """Added to the base depths."""
    restrictions: tuple[Restriction, ...] = ()
    """Blocks that may take fewer of these values."""
    reference: str = "mobilenet_v2"
    """The published network at the centre: the bases that are not given are its own."""
    base_filters: tuple[int, ...] = ()
    """Width of each block; empty: the reference's."""
    base_layers: tuple[int, ...] = ()
    """Depth of each block; empty: the reference's."""
    strides: tuple[int, ...] = ()
    """Stride of each block's first layer; empty: the reference's."""
    width: float = 1.0
    """Multiplier of all widths, the stem's included, the head's not."""
    divisor: int = 8
    """Widths are rounded to its multiples; 1 keeps them."""
    stem: int = 32
    """Channels of the first convolution, before ``width``."""
    stem_stride: int = 2
    """Stride of the first convolution."""
    head: int = 1280
    """Channels of the last convolution, in front of the classifier."""
    resolution: int = 224
    """Side of the square input, in pixels."""
    classes: int = 1000
    """Outputs of the classifier."""

    def __post_init__(self) -> None:
        known = {"ops": tuple(EXPANSION), "kernels": (3, 5, 7), "skips": SKIPS}
        for name in VALUE_FIELDS.values():
            _check_values(name, values := getattr(self, name), known.get(name, values))
        self._check_ranges()
        self._check_blocks()
        self._check_size()

    def _check_ranges(self) -> None:
        for limit, names in _LIMITS.items():
            check_range("space.", self, *names, least=1, most=MOST[limit])
        check_range("space.", self, "width", "filters", above=0, most=MAX_MULTIPLIER)
        check_range("space.", self, "ses", least=0, most=MAX_SE)
        check_range("space.", self, "layers", least=-MOST["layers"], most=MOST["layers"])

    def _check_size(self) -> None:
        """Refuse a space whose largest network nothing could hold."""
        widest, deepest, blocks = max(self.filters), max(self.layers), range(self.num_blocks)
        check_size(
            [self.stem_filters, *(self.block_filters(block, widest) for block in blocks)],
            [self.block_layers(block, deepest) for block in blocks],
            max(self.kernels) ** 2 if "conv" in self.ops else 2 * max(EXPANSION.values()),
        )

    def _check_blocks(self) -> None:
        lengths = [len(values) for values in self._bases()]
        if len(set(lengths)) != 1:
            raise UserError(
                "space: base_filters, base_layers and strides must name the same number of blocks,"
                f" got {', '.join(map(str, lengths))}; those that are empty are {self.reference}'s"
            )
        check_count("space: number of blocks", lengths[0], most=MOST["blocks"])
        numbers = [restriction.block for restriction in self.restrictions]
        for number, restriction in zip(numbers, self.restrictions, strict=True):
            if not 1 <= number <= lengths[0] or numbers.count(number) > 1:
                raise UserError(
                    f"space.restrictions: block is {number}, it must be one of 1 to {lengths[0]},"
                    " each at most once"
                )
            for name in VALUE_FIELDS.values():
                if values := getattr(restriction, name):
                    place = f"restrictions, block {number}, {name}"
                    _check_values(place, values, getattr(self, name))

    def _bases(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        stages = published_spec(self.reference).stages
        return (
            self.base_filters or [stage.filters for stage in stages],
            self.base_layers or [stage.repeats for stage in stages],
            self.strides or [stage.stride for stage in stages],
        )

    @cached_property
    def base(self) -> tuple[BlockBase, ...]:
        """Width, depth and stride of every block at the centre of the space."""
        return tuple(BlockBase(*block) for block in zip(*self._bases(), strict=True))

    @cached_property
    def choices(self) -> tuple[dict[str, tuple], ...]:
        """For every block the values of each of the six decisions, in the order of their indices.

        A restricted block keeps the order of the space's values.
        """
        limits = {restriction.block: restriction for restriction in self.restrictions}
        return tuple(
            {
                decision: tuple(
                    value
                    for value in getattr(self, name)
                    if value in (getattr(limits.get(number), name, ()) or getattr(self, name))
                )
                for decision, name in VALUE_FIELDS.items()
            }
            for number in range(1, self.num_blocks + 1)
        )

    @cached_property
    def decision_sizes(self) -> tuple[int, ...]:
        """Number of values of every decision of every block, 42 in the paper's space.

        Examples:
            >>> MnasSpace().decision_sizes[:6]
            (4, 2, 2, 3, 3, 3)
        """
        return tuple(len(values) for block in self.choices for values in block.values())

    @property
    def num_blocks(self) -> int:
        """Blocks between stem and head."""
        return len(self.base)

    def block_choices(self, block: int) -> Iterator[BlockChoice]:
        """All choices of a block (from 0), in the order of their indices."""
        return (BlockChoice(*values) for values in itertools.product(*self.choices[block].values()))

    def sample(self, rng: random.Random) -> Arch:
        """Draw every decision uniformly."""
        return self.decode([rng.randrange(size) for size in self.decision_sizes])

    def samples(self, seed: int) -> Iterator[Arch]:
        """Uniform architectures without end, a function of the seed.

        Examples:
            >>> import itertools
            >>> space = MnasSpace()
            >>> [arch.blocks[0].op for arch in itertools.islice(space.samples(seed=0), 3)]
            ['mbconv6', 'conv', 'sepconv']
        """
        rng = random.Random(seed)
        while True:
            yield self.sample(rng)

    def distinct(
        self, archs: Iterable[Arch], known: Collection[NetSpec] = (), patience: float = math.inf
    ) -> Iterator[tuple[Arch, NetSpec]]:
        """Canonical architectures and their networks, each once, in the order of ``archs``.

        ``archs`` may be endless: after ``patience`` in a row without a new network there are no
        more. ``known`` networks are left out.
        """
        seen, missed = set(known), 0
        for arch in map(self.canonical, archs):
            spec = self.spec(arch)
            missed = missed + 1 if spec in seen else 0
            if not missed:
                seen.add(spec)
                yield arch, spec
            elif missed >= patience:
                return

    def decode(self, indices: Sequence[int]) -> Arch:
        """The Arch of one index per decision, block by block in the order of ``DECISIONS``.

        Raises:
            ValueError: for a wrong number of indices, or one outside its decision.

        Examples:
            >>> space = MnasSpace()
            >>> arch = space.decode([0] * 42)
            >>> arch.blocks[6]
            BlockChoice(op='conv', kernel=3, se=0.0, skip='none', filters=0.75, layers=-1)
            >>> space.encode(arch)[:6]
            (0, 0, 0, 0, 0, 0)
        """
        if len(indices) != len(self.decision_sizes):
            raise ValueError(f"{len(indices)} indices for {len(self.decision_sizes)} decisions")
        for position, (index, size) in enumerate(zip(indices, self.decision_sizes, strict=True)):
            if not 0 <= index < size:
                raise ValueError(f"index {position} is {index}, its decision has {size} values")
        rest = iter(indices)
        return Arch(
            tuple(
                BlockChoice(*(values[next(rest)] for values in block.values()))
                for block in self.choices
            )
        )

    def encode(self, arch: Arch) -> tuple[int, ...]:
        """The indices of an Arch.

        Raises:
            UserError: naming the block, the decision and its values, for a choice outside.
        """
        if len(arch.blocks) != self.num_blocks:
            raise UserError(
                f"architecture has {len(arch.blocks)} blocks, the space has {self.num_blocks}"
            )
        return tuple(
            self._index(number, name, getattr(block, name))
            for number, block in enumerate(arch.blocks, 1)
            for name in DECISIONS
        )

    def _index(self, block: int, name: str, value: object) -> int:
        values = self.choices[block - 1][name]
        if value not in values:
            allowed = ", ".join(map(str, values))
            raise UserError(f"block {block}: {name} is {value!r}, this space allows {allowed}")
        return values.index(value)

    def block_filters(self, block: int, multiplier: float) -> int:
        """Output channels of a block (from 0) after width and rounding."""
        return make_divisible(self.base[block].filters * multiplier * self.width, self.divisor)

    def block_layers(self, block: int, delta: int) -> int:
        """Layers of a block (from 0): never fewer than one."""
        return max(1, self.base[block].layers + delta)

    @property
    def stem_filters(self) -> int:
        """Output channels of the stem after width and rounding."""
        return make_divisible(self.stem * self.width, self.divisor)

    def spec(self, arch: Arch) -> NetSpec:
        """The network that an Arch stands for.

        Examples:
            >>> space = MnasSpace()
            >>> space.spec(space.decode([0] * 42)).block_strings()[:2]
            ['r1_k3_s11_e1_i32_o16_noskip_conv', 'r1_k3_s22_e1_i16_o24_noskip_conv']
        """
        stages = tuple(self.stage(number, block) for number, block in enumerate(arch.blocks))
        return NetSpec(
            self.stem_filters, self.stem_stride, stages, self.head, self.classes, self.resolution
        )

    def stage(self, number: int, block: BlockChoice) -> Stage:
        """The stage that a choice for a block (from 0) stands for."""
        expand = EXPANSION.get(block.op, 1)  # a mixed op is none of them
        return Stage(
            op="mbconv" if expand > 1 else block.op,
            kernel=block.kernel,
            expand=expand,
            se=block.se,
            skip=block.skip,
            filters=self.block_filters(number, block.filters),
            repeats=self.block_layers(number, block.layers),
            stride=self.base[number].stride,
        )

    def canonical(self, arch: Arch) -> Arch:
        """The representative, of smallest indices, of all codes of the same network.

        Codes differ without effect where rounding merges widths or the squeezes of two ratios,
        where depth is clamped at one layer, and where an identity acts on no layer.

        Examples:
            >>> space = MnasSpace()
            >>> arch = space.decode([0, 0, 0, 1, 0, 0] * 7)  # identities that cannot act
            >>> space.encode(space.canonical(arch))[:6]
            (0, 0, 0, 0, 0, 0)
        """
        blocks, inputs = [], self.stem_filters
        for number, block in enumerate(arch.blocks):
            blocks.append(self.canonical_block(number, block, inputs))
            inputs = self.block_filters(number, block.filters)
        return Arch(tuple(blocks))

    def canonical_block(self, number: int, block: BlockChoice, inputs: int) -> BlockChoice:
        """The representative of a choice for one block (from 0) behind ``inputs`` channels."""
        width = self.block_filters(number, block.filters)
        depth = self.block_layers(number, block.layers)
        acts = depth > 1 or (self.base[number].stride == 1 and width == inputs)
        idle = block.skip != "pool" and not acts
        layers_in = {inputs, width} if depth > 1 else {inputs}
        squeezes = [squeeze_width(channels, block.se) for channels in layers_in]
        choices = self.choices[number]
        return dataclasses.replace(
            block,
            se=next(
                se
                for se in choices["se"]
                if [squeeze_width(channels, se) for channels in layers_in] == squeezes
            ),
            skip=next(s for s in choices["skip"] if s != "pool") if idle else block.skip,
            filters=next(f for f in choices["filters"] if self.block_filters(number, f) == width),
            layers=next(d for d in choices["layers"] if self.block_layers(number, d) == depth),
        )


_LIMITS = {
    "channels": ("base_filters", "stem", "head", "divisor"),
    "layers": ("base_layers",),
    "stride": ("strides", "stem_stride"),
    "side": ("resolution",),
    "classes": ("classes",),
}
"""Numbers of a space that have a limit, by its name in ``MOST``."""


def _check_values(name: str, values: tuple, allowed: tuple) -> None:
    if not values or len(set(values)) != len(values):
        held = f"at least one value and none twice, got {short(values)}"
        raise UserError(f"space.{name} must hold {held}")
    for value in values:
        if value not in allowed:
            known = ", ".join(map(str, allowed))
            raise UserError(f"space.{name}: unknown value {short(value)}, allowed are {known}")


def read_space(path: str | Path) -> MnasSpace:
    """The space of a file that holds fields of ``MnasSpace``; those it leaves out are the paper's.

    A shipped one has a name, such as ``spaces/paper``.

    Raises:
        UserError: one line that names the file, the field, its value and what is allowed.

    Examples:
        >>> from supernet.files.shipped import config_file
        >>> read_space(config_file("spaces/digits")).width
        0.35
    """
    path = config_file(str(path))
    fields = read_yaml(path, "name a yaml file of a space such as configs/spaces/paper.yaml")
    try:
        return read_as(MnasSpace, fields, "space.", partial=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def reference_spec(name: str, space: MnasSpace) -> NetSpec:
    """A published network at a space's resolution, classes and stem stride."""
    return published_spec(name).scaled(
        resolution=space.resolution, classes=space.classes, stem_stride=space.stem_stride
    )


def reference_specs(space: MnasSpace) -> list[NetSpec]:
    """All published networks at a space's resolution, classes and stem stride."""
    return [reference_spec(name, space) for name in published]
