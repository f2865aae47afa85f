"""``python -m search.compare``."""

import importlib
import sys

from supernet.command.early import answer_early
from supernet.command.process import run_command


def main() -> None:
    """Compare controllers, on supernets or on tables of what others have trained."""
    words = sys.argv[1:]
    if any(word.partition("=")[0] == "--truth" for word in words):
        # By name: that room stands on this one.
        importlib.import_module("search.truth.__main__").main()
        return
    words = answer_early("search.compare", words)
    # Signals are answered while torch loads, which takes seconds.
    from search.compare.comparison import main

    main(words)


if __name__ == "__main__":
    run_command(main, trains=True)
