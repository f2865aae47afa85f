"""``python -m retrain.card``."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Make a run's hub folder, and push it."""
    words = answer_early("retrain.card", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from retrain.card.command import main

    main(words)


if __name__ == "__main__":
    run_command(main)
