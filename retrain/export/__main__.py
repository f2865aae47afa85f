"""``python -m retrain.export``."""

from supernet.command.process import run_command


def main() -> None:
    """Export a run's network."""
    # Signals are answered while torch loads, which takes seconds.
    from retrain.export.export import main

    main()


if __name__ == "__main__":
    run_command(main)
