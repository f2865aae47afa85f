"""``python -m retrain.card``."""

from supernet.command.process import run_command


def main() -> None:
    """Make a run's hub folder, and push it."""
    # Signals are answered while torch loads, which takes seconds.
    from retrain.card.command import main

    main()


if __name__ == "__main__":
    run_command(main)
