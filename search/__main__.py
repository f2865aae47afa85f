"""``python -m search fit -c configs/digits/search.yaml``."""

from __future__ import annotations

from search.callbacks import search_callbacks
from search.module import SearchModule
from supernet.command.process import run_command
from supernet.run.cli import CLI
from supernet.run.folder import WAY_ON


def main() -> None:
    """Search for an architecture."""
    run_command(lambda: CLI(SearchModule, "search", search_callbacks), WAY_ON, trains=True)


if __name__ == "__main__":
    main()
