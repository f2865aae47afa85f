"""``python -m supernet.latency build | validate | show``: latency tables of a user's device."""

from __future__ import annotations

from supernet.latency.command import main

if __name__ == "__main__":
    main()
