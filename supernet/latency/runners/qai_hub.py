"""Phone of Qualcomm AI Hub: ``python -m supernet.latency.runners.qai_hub``.

An .onnx file runs in ONNX Runtime and a .tflite file in LiteRT as they are, unless ``--runtime``
has them compiled first; each is a job in a queue, which takes minutes.

Followed: qai-hub 0.56.0, whose ``submit_inference_job(..., profile=True)`` without inputs is what
``submit_profile_job`` was; times are microseconds of ``execution_summary``. No account has been
seen, only a module that stands for the package, whose signatures are compared with the package's
where it is installed.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from supernet.command.process import run_command
from supernet.errors import UserError, one_line
from supernet.latency.runners import runner

PACKAGE = '`pip install "qai-hub>=0.56"`, then `qai-hub configure --api_token TOKEN`'
RUNTIMES = ("tflite", "onnx", "qnn_dlc", "qnn_context_binary", "precompiled_qnn_onnx")
"""Values of ``--target_runtime`` of a compile job."""
QUEUE_SECONDS = 1800.0


def measure(options: argparse.Namespace) -> list[float]:
    """Times of a model on a phone of the hub, in ms.

    Raises:
        UserError: when the package or an account is missing, or a job fails or takes too long.
    """
    runner.check_model(options.model, ("onnx", "tflite"))
    try:
        import qai_hub
    except ImportError:
        raise UserError(f"Qualcomm AI Hub needs {PACKAGE}") from None
    return milliseconds_of(_profile(qai_hub, options))


def _profile(hub: Any, options: argparse.Namespace) -> Mapping[str, Any]:
    """The ``execution_summary`` of a profile."""
    ask = partial(_asked, hub, options.timeout)
    seconds = max(1, round(options.timeout))
    device, model = ask(hub.Device, options.device, options.os), str(options.model)
    if options.runtime:
        compiling = ask(
            hub.submit_compile_job,
            model,
            device,
            input_specs=dict(options.input) or None,
            options=f"--target_runtime {options.runtime} {options.compile_options}".strip(),
        )
        _check_done("compile", compiling, ask(compiling.wait, seconds))
        model = ask(compiling.get_target_model)
    job = ask(
        hub.submit_inference_job, model, device, inputs=None, profile=True, options=options.options
    )
    _check_done("profile", job, ask(job.wait, seconds))
    return ask(job.download_profile).get("execution_summary", {})


def _asked(hub: Any, timeout: float, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What one call of the package answers.

    Raises:
        UserError: when the hub refuses, cannot be reached or takes longer than ``timeout``, in s.
    """
    try:
        # The package tells on stdout how far it is.
        with contextlib.redirect_stdout(sys.stderr):
            return call(*given, **named)
    except TimeoutError:
        raise UserError(
            f"Qualcomm AI Hub has not finished within {timeout:g} s: raise --timeout, or look at"
            " its queue"
        ) from None
    except (hub.Error, OSError, ValueError) as error:  # its own, its transports', its arguments'
        reason = one_line(error)[:150]
        if "configuration file" in reason:
            raise UserError(f"Qualcomm AI Hub knows no account here: {PACKAGE}") from None
        raise UserError(f"Qualcomm AI Hub refuses: {reason or type(error).__name__}") from None


def _check_done(kind: str, job: Any, status: Any) -> None:
    if not status.success:
        raise UserError(
            f"the {kind} job {job.job_id} of Qualcomm AI Hub failed:"
            f" {one_line(status.message or 'it does not say why')[:120]}"
        )


def milliseconds_of(summary: Mapping[str, Any]) -> list[float]:
    """Times of all runs that a summary holds, or its estimate, in ms.

    Raises:
        UserError: when it holds none.
    """
    found = summary.get("all_inference_times") or [summary.get("estimated_inference_time") or 0]
    if min(found) <= 0:
        raise UserError("the profile of Qualcomm AI Hub holds no inference time")
    return [microseconds / 1e3 for microseconds in found]


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and shape of an input; argparse says the error."""
    name, _, sizes = text.partition("=")
    if not name or not all(size.isdecimal() and int(size) for size in sizes.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not such as images=1,3,224,224")
    return name, tuple(map(int, sizes.split(",")))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times of a model on a phone of the hub."""
    parser = runner.runner_parser("qai_hub", __doc__, QUEUE_SECONDS)
    parser.add_argument("--device", required=True, help="as `qai-hub list-devices` spells it")
    parser.add_argument("--os", default="", help="its version, the newest by default")
    parser.add_argument("--runtime", choices=RUNTIMES, help="compile for it first")
    shape = "with --runtime: sizes of an input that the file leaves open"
    parser.add_argument(
        "--input", type=input_shape, action="append", default=[], metavar="NAME=1,3,R,R", help=shape
    )
    parser.add_argument("--compile_options", default="", help="more of them, in one word")
    parser.add_argument("--options", default="", help="of the profile job: '--compute_unit npu'")
    options = parser.parse_args(arguments)
    if options.input and not options.runtime:
        raise UserError("--input is for compiling: give --runtime too")
    runner.print_times(measure(options))


if __name__ == "__main__":
    run_command(main)
