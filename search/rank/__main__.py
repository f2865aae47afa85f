"""``python -m search.rank``."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Rank networks and scores."""
    words = answer_early("search.rank", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.rank.ranking import main

    main(words)


if __name__ == "__main__":
    run_command(main, trains=True)
