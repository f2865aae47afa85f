#!/usr/bin/env python3
"""A scripted adb: answers as the true one does, from a folder that stands for the phone.

ADB_FAKE names a folder with settings.json: ``devices`` (what ``adb devices`` lists), ``output``
(what the program on the phone prints, with MS for its time), ``fail`` (the failure to play from
command number ``after`` on). Every command is noted in calls.txt.
"""

import json
import os
import sys
import time
from pathlib import Path

FAKE = Path(os.environ["ADB_FAKE"])
SETTINGS = json.loads((FAKE / "settings.json").read_text())
CALLS = FAKE / "calls.txt"


def say(text="", file=sys.stdout):
    file.write(f"{text}\n")


def main(words):
    number = len(CALLS.read_text().splitlines()) if CALLS.exists() else 0
    with CALLS.open("a") as file:
        file.write(json.dumps(words) + "\n")
    if words == ["devices"]:
        if SETTINGS.get("starts_server") and number == 0:
            say("* daemon not running; starting now at tcp:5037", file=sys.stderr)
            say("* daemon started successfully", file=sys.stderr)
        say("List of devices attached")
        for serial, state in SETTINGS["devices"].items():
            say(f"{serial}\t{state}")
        say()
        return 0
    if words == ["kill-server"]:
        return 0
    flag, serial, *command = words
    assert flag == "-s"
    if serial not in SETTINGS["devices"]:
        say(f"error: device '{serial}' not found", file=sys.stderr)
        return 1
    if SETTINGS.get("fail") and number >= SETTINGS["after"]:
        return FAILURES[SETTINGS["fail"]](command)
    return push(command[1:]) if command[0] == "push" else shell(command[1])


def push(words):
    *sources, place = words
    for source in sources:
        assert Path(source).is_file(), source
    say(f"{len(sources)} files pushed, 0 skipped. 31.2 MB/s (4096 bytes in 0.000s)")
    (FAKE / "pushed.txt").open("a").write("".join(f"{place} {source}\n" for source in sources))
    return 0


def shell(line):
    if line.startswith("rm -rf") and "echo" not in line:
        return 0
    line, mark, status = line.rpartition("; echo ")
    assert mark
    if line.startswith("getprop "):
        say(SETTINGS["properties"].get(line.split()[1], ""))
    elif "/runner " in line:
        say(SETTINGS["output"].replace("MS", f"{milliseconds(line):.6f}"))
    say(status.replace("$?", "0"))
    return 0


def milliseconds(line):
    """A time that follows from the file's size, so that larger models are slower."""
    (name,) = [word for word in line.replace("=", " ").split() if "/models/" in word]
    (pushed,) = {
        row.split()[1]
        for row in (FAKE / "pushed.txt").read_text().splitlines()
        if row.split()[1].endswith("/" + name.rpartition("/")[2])
    }
    return Path(pushed).stat().st_size / 1e4


def lost(command):
    say("error: closed", file=sys.stderr)
    return 1


def while_it_runs(play):
    """A failure that strikes while the program runs on the phone, and leaves the rest alone."""

    def failure(command):
        if command[0] == "push":
            return push(command[1:])
        return play() if "/runner " in command[1] else shell(command[1])

    return failure


def cut_short():
    """The phone goes: adb ends well, with half an answer."""
    say("INFO: Initialized TensorFlow Lite runtime.")
    return 0


def crashed():
    say("Segmentation fault")
    say("runner-status 139")
    return 0


def hangs(command):
    time.sleep(3600)
    return 0


FAILURES = {
    "lost": lost,
    "hangs": hangs,
    "cut short": while_it_runs(cut_short),
    "crashed": while_it_runs(crashed),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
