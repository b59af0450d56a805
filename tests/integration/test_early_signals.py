"""Ctrl-C and SIGTERM while a command is being loaded, and while it works: one line, 130 or 143, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from device_agent import ending

ROOT = Path(__file__).parents[2]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
HOW = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}

LOADING = """
import os, signal, sys
class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
            try:
                for _ in range(1000): pass  # where a signal is heard
            except BaseException:
                raise ImportError("taken for a failure of the module")
sys.meta_path.insert(0, Signal())
sys.argv = [{command!r}, *{arguments!r}]
from {package}.__main__ import main
sys.exit(main())
"""

WORKING = """
import sys, time
import {module} as module
def slow(*_, **__):
    print("working", file=sys.stderr, flush=True)
    time.sleep(60)
setattr(module, {function!r}, slow)
sys.argv = [{command!r}, *{arguments!r}]
from {package}.__main__ import main
sys.exit(main())
"""

CONVERT = ["convert", "absent.onnx", "--data", "absent.npy", "--target", "ncnn", "--out", "absent"]


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize(
    ("command", "package", "module", "arguments"),
    [
        ("edgewright", "host_tools", "host_tools.cli.main", CONVERT),
        ("edgewright", "host_tools", "argparse", CONVERT),
        ("edgewright", "host_tools", "numpy", CONVERT),
        ("edgewright", "host_tools", "onnx_ir", CONVERT),
        ("edgewright-agent", "device_agent", "device_agent.cli", ["check", "--config", "absent.toml"]),
        ("edgewright-agent", "device_agent", "argparse", ["check", "--config", "absent.toml"]),
    ],
)
def test_a_signal_while_a_command_is_being_loaded(
    number: signal.Signals, command: str, package: str, module: str, arguments: list[str]
) -> None:
    code = LOADING.format(
        module=module, number=int(number), command=command, arguments=arguments, package=package
    )
    out, told = (loading := python(code)).communicate(timeout=60)
    assert (loading.returncode, out, told) == (
        STATUS[number],
        "",
        f"{command}: {HOW[number]} before it began.\n",
    )


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize(
    ("command", "package", "module", "function", "arguments", "line"),
    [
        (
            "edgewright",
            "host_tools",
            "host_tools.cli.conversion",
            "convert",
            CONVERT,
            "{0}. Nothing half-written was left; the same command goes on where it stopped.\n",
        ),
        (
            "edgewright-agent",
            "device_agent",
            "device_agent.cli",
            "load_config",
            ["check", "--config", "absent.toml"],
            "edgewright-agent: {1}.\n",
        ),
    ],
)
def test_a_signal_while_a_command_works(
    number: signal.Signals,
    command: str,
    package: str,
    module: str,
    function: str,
    arguments: list[str],
    line: str,
) -> None:
    code = WORKING.format(
        module=module, function=function, command=command, arguments=arguments, package=package
    )
    working = python(code)
    assert working.stderr is not None
    assert working.stderr.readline() == "working\n"
    working.send_signal(number)
    out, told = working.communicate(timeout=60)
    how = HOW[number]
    assert (working.returncode, out, told) == (
        STATUS[number],
        "",
        line.format(how[0].upper() + how[1:], how),
    )


def test_what_a_shell_runs_in_the_background_does_not_hear_ctrl_c() -> None:
    code = (
        "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from device_agent.ending import end_at_once, end_in_order\nend_at_once('x')\n"
        "os.kill(os.getpid(), signal.SIGINT)\nend_in_order()\nos.kill(os.getpid(), signal.SIGINT)\nprint('on')"
    )
    out, told = (background := python(code)).communicate(timeout=60)
    assert (background.returncode, out, told) == (0, "on\n", "")


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_when_all_is_done_is_no_traceback(number: signal.Signals) -> None:
    code = (
        "import os\nfrom device_agent.ending import end_at_once, end_in_order, end_silently\n"
        f"end_at_once('x')\nend_in_order()\nend_silently()\nos.kill(os.getpid(), {int(number)})"
    )
    out, told = (done := python(code)).communicate(timeout=60)
    assert (done.returncode, out, told) == (-number, "", "")


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("between", ["", "end_in_order(); end_silently()"])
def test_a_server_that_is_asked_again_ends_at_once(number: signal.Signals, between: str) -> None:
    code = (
        "import os\nfrom device_agent.ending import *\n"
        "end_at_once('x')\nend_in_order()\nend_at_once_when_asked_again('x')\n"
        f"try: os.kill(os.getpid(), {int(number)})\nexcept KeyboardInterrupt as end: print(status_of(end), flush=True)\n"
        f"{between}\nos.kill(os.getpid(), {int(number)})\nprint('on')"
    )
    out, told = (asked := python(code)).communicate(timeout=60)
    assert (asked.returncode, out, told) == (
        STATUS[number],
        f"{STATUS[number]}\n",
        "x: asked to end again: ended at once.\n",
    )


def test_without_being_asked_nothing_is_heard() -> None:
    before = signal.getsignal(signal.SIGINT)
    ending.end_in_order()
    ending.end_at_once_when_asked_again("x")
    ending.end_silently()
    assert signal.getsignal(signal.SIGINT) is before
