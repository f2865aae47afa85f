"""Board behind ssh, such as a Raspberry Pi: ``python -m supernet.latency.runners.ssh``.

One connection carries the model there, runs it in a folder of its own and takes the folder away
again, whatever comes in between. The program on the board is, by its name: python3 (the default),
which needs numpy and onnxruntime there; onnxruntime_perf_test; LiteRT's benchmark_model; or
ExecuTorch's executor_runner.

Followed: ssh(1) of OpenSSH 9 (status 255 is its own, any other the program's), timeout(1) of
coreutils and busybox (status 124). No board has been seen, only scripts that stand for one.
"""

import argparse
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from supernet.command.arguments import positive_int
from supernet.command.process import run_command
from supernet.errors import UserError
from supernet.latency.devices.android_phone import ARGUMENTS
from supernet.latency.devices.benchmark_program import last_words, milliseconds, run
from supernet.latency.runners import runner

OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")
"""Options of ssh: it asks nothing, and notices a board that has gone."""
CONNECTION_SECONDS = 30.0
"""Seconds for connecting and copying beside those of the program."""
SCRIPT = """
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 129' HUP INT TERM
cat > {model}
timeout {seconds} {line}
"""
"""What the board's sh does: the model comes on stdin. A board that loses us still tidies up."""
MODEL = '"$folder/model.{}"'
"""Where the script lays a file of a kind."""
SSH_FAILED, MISSING, TOO_LONG = 255, (126, 127), (124, 143)
"""Exit statuses: of ssh itself, of a shell without the program, of a program that was stopped."""


def measure(options: argparse.Namespace) -> list[float]:
    """Times of a model on the board, in ms.

    Raises:
        UserError: when the board is not reached, or its program fails or prints no time.
    """
    kind = runner.check_model(options.model)
    runner.check_program("ssh", "install OpenSSH's client")
    if options.host.startswith("-"):
        raise UserError(f"--host is {options.host!r}, it must be a name such as pi@raspberrypi")
    script = SCRIPT.format(
        model=MODEL.format(kind),
        seconds=max(1, round(options.timeout)),
        line=line_on_board(options, kind),
    )
    command = ["ssh", *OPTIONS, options.host, f"exec sh -c {shlex.quote(script)}"]
    with options.model.open("rb") as stream:
        done = run(command, options.timeout + CONNECTION_SECONDS, stream)
    _check(options, done)
    try:
        return milliseconds(done.stdout)
    except UserError as error:
        raise UserError(f"{options.program} on {options.host} {error}") from None


def line_on_board(options: argparse.Namespace, kind: str) -> str:
    """The command line of the program, for the board's sh."""
    program, model = shlex.quote(options.program), MODEL.format(kind)
    pin = f"taskset -c {options.cores} " if options.cores else ""
    if not Path(options.program).name.startswith("python"):
        known = {"model": model, "threads": options.threads, "runs": options.runs}
        return f"{pin}{program} {ARGUMENTS[kind].format(**known)}"
    if kind != "onnx":
        raise UserError(f"python3 on the board runs onnx files, not {kind}: give --program")
    source = Path(__file__).with_name("onnx_on_board.py").read_text(encoding="utf-8")
    return f"{pin}{program} -c {shlex.quote(source)} {model} {options.threads} {options.runs}"


def _check(options: argparse.Namespace, done: subprocess.CompletedProcess[str]) -> None:
    """Refuse an answer of a connection or program that failed, with the way out."""
    where = f"{options.program} on {options.host}"
    if done.returncode == SSH_FAILED:
        raise UserError(
            f"ssh does not reach {options.host} without a question ({last_words(done)}): mend it"
            f" until `ssh -o BatchMode=yes {options.host} true` says nothing"
        )
    if done.returncode in MISSING:
        raise UserError(f"{where} cannot be run ({last_words(done)}): install it, or --program")
    if done.returncode in TOO_LONG:
        raise UserError(f"{where} took more than {options.timeout:g} s: raise --timeout")
    runner.check_ended_well(where, done)


def cores(text: str) -> str:
    """Numbers of cores as taskset -c takes them; argparse says the error."""
    if not text or set(text) - set("0123456789,-"):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cores such as 3 or 2,3")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times of a model on a board."""
    parser = runner.runner_parser("ssh", __doc__, timeout=60)
    parser.add_argument(
        "--host", required=True, help="such as pi@raspberrypi; keys by ssh's config"
    )
    parser.add_argument("--program", default="python3", help="on the board, default python3")
    parser.add_argument("--threads", type=positive_int, default=1, help="default 1")
    parser.add_argument("--runs", type=positive_int, default=50, help="of the model, default 50")
    parser.add_argument("--cores", type=cores, help="to be kept to, such as 3 or 2,3")
    runner.print_times(measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    run_command(main)
