"""What a report says of ``mnasnet rank``, ``compare`` and ``paper``: figure, tables, conclusion."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from supernet.display.rows import with_interval
from supernet.files.reading import typed_object
from supernet.report.page import Code, PageTable, Section
from supernet.report.run_files import RunFiles

ENDINGS = {
    "rank": ("Ranking", "networks that were trained alone, against the score that a search uses"),
    "compare": ("Comparison", "rewards and fronts of the trials, and networks that were retrained"),
    "paper": ("Experiment of the paper", "accuracy against cost here, and as the paper prints it"),
}
"""Title of what a command has found, and words of its figure, by the name of its files."""


def compared(files: RunFiles) -> Iterator[Section]:
    """What a ranking or a comparison came to."""
    for name, (title, words) in ENDINGS.items():
        told = files.values(f"{name}.json")
        if not told:
            continue
        yield Section(
            title,
            # Those of version 0.1 have none.
            facts=[("in one sentence", told["conclusion"])] if told.get("conclusion") else (),
            pictures=files.figure(f"{name}.png", words, folder=""),
            tables=[
                *(table_of(*one) for one in told["tables"].items()),
                *(networks_of(*one) for one in told.get("networks", {}).items()),
            ],
            notes=told["facts"],
            code=[Code("options", json.dumps(told["options"], indent=2), folded=True)],
        )


def table_of(title: str, rows: Mapping[str, Mapping[str, Any]]) -> PageTable:
    """A table of estimates as the command has printed it, from rows of plain cells."""
    columns = max(map(list, rows.values()), key=len, default=[])
    cells = [[name, *(_cell(row.get(one)) for one in columns)] for name, row in rows.items()]
    return PageTable(title, ("", *columns), cells, ("",))


def networks_of(group: str, networks: Sequence[Mapping[str, Any]]) -> PageTable:
    """The networks of a ranking, of one group, the best first."""
    header = ("blocks", "cost", "mean test accuracy", "trainings")
    rows = [
        [
            " ".join(one["blocks"]),
            f"{one['cost']:,.4g}",
            f"{fmean(one['test']):.2%}",
            f"{len(one['test'])}",
        ]
        for one in sorted(networks, key=lambda one: -fmean(one["test"]))
    ]
    return PageTable(f"{group} networks, the best first", header, rows, ("blocks",), folded=True)


def _cell(content: object) -> str:
    """Text of a cell: words, or a value with the limits of its interval, null where unknown."""
    if content is None or isinstance(content, str):
        return content or "-"
    held = typed_object("a cell", content)
    numbers = (held[name] for name in ("value", "low", "high"))
    return with_interval(*(math.nan if one is None else float(one) for one in numbers))
