"""``python -m search.compare``."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Compare controllers."""
    words = answer_early("search.compare", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from search.compare.comparison import main

    main(words)


if __name__ == "__main__":
    run_command(main, trains=True)
