"""``python -m supernet.space``: says where its commands have gone."""

import shlex
import sys

if __name__ == "__main__":
    line = shlex.join(["python", "-m", "supernet", *sys.argv[1:]])
    sys.stderr.write(f"error: python -m supernet.space has become python -m supernet: {line}\n")
    sys.exit(2)
