"""The process behind ``preloaded``: it has the libraries loaded, and forks a command from itself.

None of our modules may be loaded here: what they hold belongs to the process of one command.
"""

import atexit
import gc
import importlib
import os
import runpy
import signal
import socket
import sys
import threading
import warnings
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import NamedTuple, NoReturn

LIBRARIES = (
    "torch",
    "torch._dynamo",
    "pytorch_lightning.cli",
    "matplotlib.pyplot",
    "onnx",
    "onnxscript",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.datasets",
    "timm",
    "wandb",
)
STREAMS = 3
"""Standard input, output and error of a command, in front of the channel that tells of it."""


class Request(NamedTuple):
    """What ``python -m MODULE ARGUMENTS`` is to run with."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    warns: bool
    in_session: bool
    """Whether it leads a session, and so a group of processes, of its own."""


def accept(control: socket.socket) -> Request | None:
    """Fork for each request until nobody can ask; the request, in the process that is to run it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that look after commands leave no trace
    while True:
        _, files, _, _ = socket.recv_fds(control, 1, STREAMS + 1)
        if not files:
            return None
        if os.fork() == 0:
            control.close()
            return _begin(files[:STREAMS], Connection(files[STREAMS]))
        for file in files:
            os.close(file)


def _begin(streams: list[int], channel: Connection) -> Request:
    """Fork the command, and look after it here: who has asked is not its parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = channel.recv()
    command = os.fork()
    if command:
        for file in streams:
            os.close(file)
        channel.send(command)
        channel.send(os.waitpid(command, 0)[1])
        os._exit(0)
    channel.close()
    if request.in_session:
        os.setsid()
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    return request


def wandb_folders() -> dict[str, TemporaryDirectory[str]]:
    """Folders that W&B has made as it was loaded, and removes at the end of a process."""
    from wandb.sdk.artifacts.artifact import Artifact
    from wandb.sdk.data_types._private import MEDIA_TMP

    return {"wandb-artifacts": Artifact._TMP_DIR, "wandb-media": MEDIA_TMP}


def run(request: Request, folders: dict[str, TemporaryDirectory[str]]) -> NoReturn:
    """Run a command as Python would have, had it been asked to, with folders of its own.

    Nothing is freed at its end, which would copy most of what it shares; what it raises Python
    tells, as of any command.
    """
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    for name, folder in folders.items():
        folder.__init__(name)
    added = filter(None, request.environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [request.folder, *added]
    sys.argv = ["", *request.arguments]
    if not request.warns:
        warnings.simplefilter("ignore")
        sys.warnoptions = ["ignore"]
    status = 0
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        status = leaving.code or 0
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def main() -> None:
    """Load, serve, and in each fork run a command to its end."""
    for name in LIBRARIES:
        importlib.import_module(name)
    folders = wandb_folders()
    for folder in folders.values():
        folder.cleanup()
    gc.freeze()  # so that no search for garbage copies what forks share
    with socket.socket(fileno=int(sys.argv[1])) as control:
        request = accept(control)
    if not request:
        os._exit(0)
    run(request, folders)


if __name__ == "__main__":
    main()
