"""``python -m search.truth``, which is what ``mnasnet compare --truth`` runs."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Compare controllers on tables of networks that others have trained."""
    words = answer_early("search.truth", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.truth.command import main

    main(words)


if __name__ == "__main__":
    run_command(main)
