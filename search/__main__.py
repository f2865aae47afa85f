"""``python -m search fit -c configs/digits/search.yaml``."""

from search.callbacks import search_callbacks
from search.module import SearchModule
from supernet.cli import CLI
from supernet.ending import run_command


def main() -> None:
    """Search for an architecture."""
    run_command(lambda: CLI(SearchModule, "search", search_callbacks))


if __name__ == "__main__":
    main()
