"""MnasSpace: the factorised hierarchical search space of MnasNet (sec. 4.1). No torch.

``mnasnet show NAME|FILE`` prints a network as a table, ``compare`` several.
"""

import dataclasses
import math
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from supernet.errors import UserError
from supernet.files.reading import read_as, read_yaml
from supernet.files.shipped import config_file
from supernet.space.arch import DECISIONS, EXPANSION, Arch, BlockChoice
from supernet.space.published import published, published_spec
from supernet.space.settings import SpaceSettings
from supernet.space.spec import NetSpec
from supernet.space.stage import Stage, squeeze_width


@dataclass(frozen=True)
class MnasSpace(SpaceSettings):
    """What turns an Arch into a network, by settings whose defaults are the paper's space.

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

    @cached_property
    def decision_sizes(self) -> tuple[int, ...]:
        """Number of values of the six decisions of every group: 42 in the paper's space.

        Examples:
            >>> MnasSpace().decision_sizes[:6], len(MnasSpace(shared_blocks=True).decision_sizes)
            ((4, 2, 2, 3, 3, 3), 6)
        """
        return tuple(
            len(values) for group in self.groups for values in self.choices[group[0]].values()
        )

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
        """The Arch of one index per decision, group by group in the order of ``DECISIONS``.

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
        return self.repeated(
            BlockChoice(*(values[next(rest)] for values in self.choices[group[0]].values()))
            for group in self.groups
        )

    def repeated(self, choices: Iterable[BlockChoice]) -> Arch:
        """The Arch of one choice per group."""
        pairs = zip(self.groups, choices, strict=True)
        return Arch(tuple(choice for group, choice in pairs for _ in group))

    def encode(self, arch: Arch) -> tuple[int, ...]:
        """The indices of an Arch.

        Raises:
            UserError: naming the block, the decision and its values, for a choice outside, and the
                blocks that differ where all share one choice.
        """
        if len(arch.blocks) != self.num_blocks:
            raise UserError(
                f"architecture has {len(arch.blocks)} blocks, the space has {self.num_blocks}"
            )
        for group in self.groups:
            for other in group:
                self._check_alike(arch, group[0], other)
        return tuple(
            self._index(group[0] + 1, name, getattr(arch.blocks[group[0]], name))
            for group in self.groups
            for name in DECISIONS
        )

    def _check_alike(self, arch: Arch, first: int, other: int) -> None:
        for name in DECISIONS:
            shared, own = (getattr(arch.blocks[block], name) for block in (first, other))
            if own != shared:
                raise UserError(
                    f"block {other + 1}: {name} is {own!r}, but block {first + 1}'s is {shared!r}:"
                    " all blocks of a space of shared_blocks take one choice"
                )

    def _index(self, block: int, name: str, value: object) -> int:
        values = self.choices[block - 1][name]
        if value not in values:
            allowed = ", ".join(map(str, values))
            raise UserError(f"block {block}: {name} is {value!r}, this space allows {allowed}")
        return values.index(value)

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
        choices, inputs = [], self.stem_filters
        for group in self.groups:
            choice = arch.blocks[group[0]]
            choices.append(self.canonical_choice(group, choice, inputs))
            inputs = self.block_filters(group[-1], choice.filters)
        return self.repeated(choices)

    def canonical_choice(self, group: range, choice: BlockChoice, inputs: int) -> BlockChoice:
        """The representative of a choice for a group of blocks behind ``inputs`` channels.

        Values of a decision are alike where they are in every block of the group.
        """
        widths = [self.block_filters(block, choice.filters) for block in group]
        depths = [self.block_layers(block, choice.layers) for block in group]
        entering = [inputs, *widths[:-1]]
        acts = any(
            depth > 1 or (self.base[block].stride == 1 and width == channels)
            for block, channels, width, depth in zip(group, entering, widths, depths, strict=True)
        )
        idle = choice.skip != "pool" and not acts
        deep = [width for width, depth in zip(widths, depths, strict=True) if depth > 1]
        layers_in = {*entering, *deep}
        squeezes = [squeeze_width(channels, choice.se) for channels in layers_in]
        values = self.choices[group[0]]
        return dataclasses.replace(
            choice,
            se=next(
                se
                for se in values["se"]
                if [squeeze_width(channels, se) for channels in layers_in] == squeezes
            ),
            skip=next(s for s in values["skip"] if s != "pool") if idle else choice.skip,
            filters=next(
                filters
                for filters in values["filters"]
                if [self.block_filters(block, filters) for block in group] == widths
            ),
            layers=next(
                layers
                for layers in values["layers"]
                if [self.block_layers(block, layers) for block in group] == depths
            ),
        )


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
