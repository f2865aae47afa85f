"""``python -m search.rank``."""

from search.rank.ranking import main
from supernet.command.process import run_command

if __name__ == "__main__":
    run_command(main, trains=True)
