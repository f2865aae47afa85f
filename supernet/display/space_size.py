"""How many codes and how many different networks a space holds, exactly. No torch."""

from __future__ import annotations

import argparse
import math
from collections import Counter

from rich import box
from rich.table import Table

from supernet.command.output import print_table
from supernet.space.mnasnet import MnasSpace, read_space


def num_codes(space: MnasSpace) -> int:
    """All combinations of all decisions; 432**7 in the paper's space (sec. 4.1 counts S**B)."""
    return math.prod(space.decision_sizes)


def num_networks(space: MnasSpace) -> int:
    """Combinations that differ as networks: the canonical ones (``MnasSpace.canonical``).

    Which choices of a block are alike depends on the blocks before only through the width that
    enters it, so that sums over widths count what nobody could enumerate.
    """
    ways = Counter({space.stem_filters: 1})
    for number in range(space.num_blocks):
        longer: Counter[int] = Counter()
        for inputs, before in ways.items():
            distinct = {
                space.canonical_block(number, choice, inputs)
                for choice in space.block_choices(number)
            }
            for choice in distinct:
                longer[space.block_filters(number, choice.filters)] += before
        ways = longer
    return ways.total()


def size(options: argparse.Namespace) -> None:
    """Print both numbers of each of ``options.spaces``, the files of spaces.

    Raises:
        UserError: when a file holds no space.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("space", "decisions", "codes", "distinct networks", "share"):
        table.add_column(header, justify="left" if header == "space" else "right", no_wrap=True)
    for path in options.spaces:
        space = read_space(path)
        codes, networks = num_codes(space), num_networks(space)
        table.add_row(
            path,
            f"{len(space.decision_sizes)}",
            f"{codes:,}",
            f"{networks:,}",
            f"{networks / codes:.1%}",
        )
    print_table(table)
