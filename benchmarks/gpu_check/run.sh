#!/usr/bin/env bash
# Runs the check on a GPU machine that may lack packages; __init__.py says how, and what it measures.
#   once, where the project is installed:  benchmarks/gpu_check/run.sh prepare .venv/bin/python
#   then, on the GPU machine:              benchmarks/gpu_check/run.sh [PART ...] [--limit SECONDS]
#   then, where the project is installed:  benchmarks/gpu_check/run.sh keep OUT/gpu_check.jsonl
set -euo pipefail

prepare() { # PYTHON: copies what a bare machine lacks, and the commit, into .gpu/
  local site package
  site=$("$1" -c "import jsonargparse, pathlib; print(pathlib.Path(jsonargparse.__file__).parents[1])")
  rm -rf .gpu
  mkdir -p .gpu/jsonargparse .gpu/wandb/wandb
  for package in jsonargparse docstring_parser typeshed_client; do
    cp -r "$site/$package" "$site/$package"-*.dist-info .gpu/jsonargparse/
  done
  # wandb itself is large, and nothing of it runs where tracking is off.
  echo "__version__ = '0'" > .gpu/wandb/wandb/__init__.py
  echo "class Error(Exception): pass" > .gpu/wandb/wandb/errors.py
  find .gpu -name __pycache__ -prune -exec rm -r {} +
  git describe --always --dirty --exclude '*' > .gpu/commit
  du -sh .gpu
}

check() { # PART...
  local python=${PYTHON:-python3} package
  export PYTHONPATH=$PWD COMMIT=
  [ -e .gpu/commit ] && COMMIT=$(cat .gpu/commit)
  # wandb/ in the root is a folder of runs, not the package.
  for package in jsonargparse wandb.errors; do
    "$python" -c "import $package" 2> /dev/null || PYTHONPATH+=":$PWD/.gpu/${package%.errors}"
  done
  exec "$python" -m benchmarks.gpu_check "$@"
}

cd "$(dirname "$0")/../.."
if [ "${1:-}" = prepare ]; then
  prepare "${2:?names the interpreter of an installed project}"
else
  check "$@"
fi
