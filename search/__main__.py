"""``python -m search fit -c configs/digits/search.yaml``, and ``choose`` from what it has found."""

from __future__ import annotations

import sys

from search.choose.command import choose
from supernet.command.early import answer_early
from supernet.command.process import run_command
from supernet.run.folder import WAY_ON

CHOOSE = (
    "choose: networks for other targets, devices or limits from a finished search (choose --help)"
)


def search() -> None:
    """Search for an architecture, in a process whose endings ``run_command`` has in hand."""
    words = answer_early("search", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.cli import SearchCLI, search_callbacks
    from search.module import SearchModule

    SearchCLI(SearchModule, "search", search_callbacks, args=words, more=CHOOSE)


def main() -> None:
    """Search for an architecture, or choose others from a finished search."""
    if sys.argv[1:2] == ["choose"]:
        run_command(lambda: choose(sys.argv[2:]), trains=True)
    else:
        run_command(search, WAY_ON, trains=True)


if __name__ == "__main__":
    main()
