"""Phone: an Android phone behind adb, with a program of the user's that runs model files.

No wheel holds such a program: build or download benchmark_model (LiteRT), onnxruntime_perf_test
or executor_runner for the phone's processor, and name its path. adb's own status says little
(``adb devices`` without a phone ends with 0), so every answer is read, and nothing waits for ever.
"""

import contextlib
import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from supernet.errors import UserError
from supernet.latency.devices.backends import Backend
from supernet.latency.devices.benchmark_program import ProgramDevice, last_words, run
from supernet.latency.devices.device import Description
from supernet.latency.models.model_files import ModelFiles
from supernet.latency.models.subject import Subject

FOLDER = "/data/local/tmp/mnasnet-search"
"""Folder on the phone; shell users may write and run programs there."""
LEAVING_SECONDS = 10.0
"""Seconds for each step of tidying up."""
RUNS = 50
"""Runs of a model in one run of the program."""
ARGUMENTS = {
    "tflite": "--graph={model} --num_threads={threads} --num_runs={runs} --warmup_runs=5",
    "onnx": "-e cpu -I -m times -r {runs} -x {threads} -y 1 {model}",
    "pte": "--model_path={model} --num_executions={runs} --cpu_threads={threads}",
}
"""Arguments of the program, by the kind of file that it runs."""
_WAY_ON = "then the same command goes on where it stopped"
_STATES = {
    "unauthorized": "allow USB debugging on its screen",
    "offline": "unplug it, plug it in again and unlock it",
    "no permissions": "let your user reach USB devices (udev rules), or run `adb kill-server`",
}
_STATUS = "runner-status"


class Phone(ProgramDevice):
    """One phone; a context manager that leaves nothing on it and no adb server behind.

    Raises:
        UserError: when adb, the program or the phone is missing or not ready.
    """

    def __init__(self, settings: Backend, files: ModelFiles) -> None:
        super().__init__(settings, files)
        self.runner = Path(settings.runner)
        if not shutil.which("adb"):
            raise UserError("backend adb needs the program adb: install Android's platform tools")
        if not self.runner.is_file():
            raise UserError(f"--runner {self.runner} is no file: name the program for the phone")
        self._started_server = self._ready = False
        self.serial = self._find(settings.device)

    def __exit__(self, *_: object) -> None:
        """Remove what was pushed and stop the server that this program started."""
        # A phone that hangs must not hide what went wrong before.
        if self._ready:
            with contextlib.suppress(UserError):
                run(["adb", "-s", self.serial, "shell", f"rm -rf {FOLDER}"], LEAVING_SECONDS)
        if self._started_server:
            with contextlib.suppress(UserError):
                run(["adb", "kill-server"], LEAVING_SECONDS)

    def description(self) -> Description:
        """What a time depends on besides the network."""
        cores = self.settings.cores
        pinned = f" on cores {cores}" if cores else ""
        return {
            "backend": "adb",
            "device": self._model + pinned,
            "runtime": f"{self.runner.name} {self._runner_hash} of {self.files.kind} files",
            "threads": self.settings.threads,
            "precision": self.files.precision,
            "clock": "the program's",
        }

    @cached_property
    def _model(self) -> str:
        """Maker, model, processor and Android release, as the phone tells them."""
        names = ("ro.product.manufacturer", "ro.product.model", "ro.board.platform")
        words = [self._shell(f"getprop {name}").strip() for name in names]
        release = self._shell("getprop ro.build.version.release").strip()
        return " ".join(filter(None, [*words, f"Android {release}" if release else ""])) or "phone"

    @cached_property
    def _runner_hash(self) -> str:
        return hashlib.sha256(self.runner.read_bytes()).hexdigest()[:8]

    def load(self, subjects: Sequence[Subject]) -> None:
        """Push the files of subjects in place of those pushed before."""
        if not self._ready:
            self._shell(f"rm -rf {FOLDER} && mkdir -p {FOLDER}")
            self._ready = True
            self._adb("push", str(self.runner), f"{FOLDER}/runner")
            self._shell(f"chmod 755 {FOLDER}/runner")
        paths = [str(self.files.path(subject)) for subject in subjects]
        self._shell(f"rm -rf {FOLDER}/models && mkdir {FOLDER}/models")
        self._adb("push", *dict.fromkeys(paths), f"{FOLDER}/models/")
        self._loaded = [f"{FOLDER}/models/{Path(path).name}" for path in paths]

    def _run(self, model: str) -> tuple[str, str]:
        arguments = ARGUMENTS[self.files.kind].format(
            model=shlex.quote(model), threads=self.settings.threads, runs=RUNS
        )
        pin = f"taskset {self.settings.cores} " if self.settings.cores else ""
        output = self._shell(f"{pin}{FOLDER}/runner {arguments} 2>&1")
        return f"{self.runner.name} on the phone", output

    def _shell(self, line: str) -> str:
        """What a command on the phone printed, once it has ended well.

        adb passes a status on only where the phone speaks a later protocol, so the phone prints
        it: an answer without it was cut short.
        """
        done = self._adb("shell", f"{line}; echo {_STATUS} $?")
        output, mark, status = done.stdout.rpartition(_STATUS)
        if not mark:
            raise self._gone(done)
        if status.strip() != "0":
            words = (output.strip().splitlines() or ["it printed nothing"])[-1]
            raise UserError(
                f"on the phone, `{line[:150]}` ended with status {status.strip()}: {words[:150]}"
            )
        return output

    def _adb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = run(["adb", "-s", self.serial, *arguments], self.settings.timeout)
        if done.returncode:
            raise self._gone(done)
        return done

    def _gone(self, done: subprocess.CompletedProcess[str]) -> UserError:
        return UserError(
            f"adb lost the phone {self.serial} ({last_words(done)}): plug it in again and unlock"
            f" it, {_WAY_ON}"
        )

    def _find(self, serial: str) -> str:
        """The serial number of the phone, if it is ready."""
        done = run(["adb", "devices"], self.settings.timeout)
        self._started_server = "daemon not running" in done.stdout + done.stderr
        try:
            return _choose(_devices(done.stdout), serial)
        except UserError:
            if self._started_server:
                run(["adb", "kill-server"], self.settings.timeout)
            raise


def _devices(output: str) -> dict[str, str]:
    """Serial numbers and states of ``adb devices``."""
    rows = [line.split(None, 1) for line in output.splitlines() if "\t" in line]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def _choose(devices: Mapping[str, str], serial: str) -> str:
    if not devices:
        raise UserError(
            "adb finds no phone: plug one in, turn on USB debugging in its developer options, and"
            " look at `adb devices`"
        )
    listed = ", ".join(f"{name} ({state})" for name, state in devices.items())
    if serial and serial not in devices:
        raise UserError(f"adb finds no phone {serial}, but {listed}: give one as --device")
    if not serial and len(devices) > 1:
        raise UserError(f"adb finds {len(devices)} phones, {listed}: give one as --device")
    name = serial or next(iter(devices))
    state = devices[name]
    if state != "device":
        way_out = next((text for known, text in _STATES.items() if state.startswith(known)), "")
        raise UserError(f"the phone {name} is {state}: {way_out or 'start it as usual'}, {_WAY_ON}")
    return name
