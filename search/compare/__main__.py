"""``python -m search.compare``."""

from search.compare.comparison import main
from supernet.command.process import run_command

if __name__ == "__main__":
    run_command(main, trains=True)
