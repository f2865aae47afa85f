"""``python -m retrain.export``."""

from retrain.export.export import main
from supernet.command.process import run_command

if __name__ == "__main__":
    run_command(main)
