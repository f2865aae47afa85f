"""``python -m search.rank``."""

from supernet.command.process import run_command


def main() -> None:
    """Rank networks and scores."""
    # Signals are answered while torch loads, which takes seconds.
    from search.rank.ranking import main

    main()


if __name__ == "__main__":
    run_command(main, trains=True)
