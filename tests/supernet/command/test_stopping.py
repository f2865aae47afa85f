"""Signals that ask a command to stop: one line and 128 + signal, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supernet.command.stopping import SIGNALS

ROOT = Path(__file__).parents[3]
COMMAND = """
import os, signal, sys, time
from supernet.command.process import run_command
from supernet.command.stopping import SIGNALS, STOP, outlive_step
# A shell that runs the tests in the background has its children ignore some of them.
for name in SIGNALS:
    handler = signal.SIG_IGN if name in {ignored} else signal.SIG_DFL
    signal.signal(signal.Signals[name], handler)
def ready():
    print("ready", flush=True)
def main():
{body}
run_command(main, "the same command")
"""
WAITING = "STOP.hold(); ready()\nwhile not STOP.asked: time.sleep(.05)"


def start(body, ignored=()):
    """A command whose body is run, lines of Python; returned once it has said that it is ready."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=lines, ignored=list(ignored))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process):
    """Output, errors and status of a command that ends by now."""
    output, errors = process.communicate(timeout=20)
    return output, errors, process.returncode


def line(name):
    return f"stopped{'' if name == 'SIGINT' else ' by ' + name}: go on with the same command\n"


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_a_command_with_one_line_and_128_and_its_number(name):
    process = start("ready(); time.sleep(60)")
    process.send_signal(signal.Signals[name])
    assert ended(process) == ("", line(name), 128 + signal.Signals[name])


def test_a_command_under_nohup_outlives_the_terminal():
    process = start("ready(); time.sleep(1); print('done')", ["SIGHUP"])
    process.send_signal(signal.SIGHUP)
    assert ended(process) == ("done\n", "", 0)


def test_what_holds_signals_looks_at_them_between_steps():
    body = (
        "STOP.hold(); ready()\nwhile not STOP.asked: time.sleep(.05)\nprint('step')\nSTOP.release()"
    )
    process = start(body)
    process.send_signal(signal.SIGUSR1)
    assert ended(process) == ("step\n", line("SIGUSR1"), 138)


def test_a_signal_that_comes_twice_at_once_is_the_same_and_later_is_urgent():
    process = start("STOP.hold(); ready(); time.sleep(60)")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.1)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert ended(process) == ("", line("SIGTERM"), 143)


def test_a_signal_that_comes_where_errors_are_dropped_is_not_lost():
    body = (
        "class Dropping:\n"
        "    def __del__(self):\n"
        "        ready(); time.sleep(60)\n"
        "Dropping()\n"
        "time.sleep(60)"
    )
    process = start(body)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == ("", line("SIGTERM"), 143)


def test_an_error_after_a_signal_is_its_consequence():
    body = (
        "STOP.hold(); ready()\nwhile not STOP.asked: time.sleep(.05)\nraise RuntimeError('worker')"
    )
    process = start(body)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == ("", line("SIGTERM"), 143)


@pytest.mark.parametrize(
    ("worker", "survives"), [("outlive_step()", True), ("time.sleep(0)", False)]
)
def test_a_forked_process_dies_of_sigterm_unless_a_step_needs_it(worker, survives):
    body = (
        "import multiprocessing\n"
        f"def work():\n    {worker}; time.sleep(60)\n"
        "child = multiprocessing.get_context('fork').Process(target=work)\n"
        "child.start(); time.sleep(.5); print('ready', flush=True)\n"
        "child.terminate(); child.join(.5); print(child.is_alive())\n"
        "child.terminate(); child.join(5); print(child.exitcode)"
    )
    assert ended(start(body)) == (f"{survives}\n{-signal.SIGTERM}\n", "", 0)


def test_what_a_command_has_forked_ends_with_it():
    body = (
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(\n"
        "    target=lambda: (outlive_step(), time.sleep(60)), daemon=True)\n"
        "child.start(); time.sleep(.3); ready(); print(child.pid, flush=True); time.sleep(60)"
    )
    process = start(body)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert ended(process)[2] == 143
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
