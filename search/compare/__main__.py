"""``python -m search.compare``."""

from supernet.command.process import run_command


def main() -> None:
    """Compare controllers."""
    # Signals are answered while torch loads, which takes seconds.
    from search.compare.comparison import main

    main()


if __name__ == "__main__":
    run_command(main, trains=True)
