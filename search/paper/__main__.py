"""``python -m search.paper``."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Run an experiment of the paper."""
    words = answer_early("search.paper", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.paper.command import main

    main(words)


if __name__ == "__main__":
    run_command(main, trains=True)
