"""``python -m retrain.export``."""

import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Export a run's network."""
    words = answer_early("retrain.export", sys.argv[1:])
    # Signals are answered while torch loads, which takes seconds.
    from retrain.export.export import main

    main(words)


if __name__ == "__main__":
    run_command(main)
