"""``python -m search.plan DIR --budget 30m``."""

from search.plan.command import main
from supernet.command.process import run_command

if __name__ == "__main__":
    run_command(main, trains=True)
