"""A signal to stop that comes while the agent begins anew is for the process that takes its place."""

from __future__ import annotations

import subprocess
import sys

FIRST = """
import os, signal, sys
from device_agent.stop_signals import StopSignals
signals = StopSignals()
os.kill(os.getpid(), signal.SIGTERM)
assert signals.is_asked, "one that came before is known"
signals = StopSignals()
signals.hold()
os.kill(os.getpid(), signal.SIGTERM)
assert not signals.is_asked, "this one waits"
os.execv(sys.executable, (sys.executable, "-c", sys.argv[1]))
"""
SECOND = """
from device_agent.stop_signals import StopSignals
heard = []
signals = StopSignals()
signals.hand_to(heard.append)
assert signals.is_asked
print(heard)
"""


def test_a_signal_outlives_the_process_that_it_came_to() -> None:
    command = [sys.executable, "-c", FIRST, SECOND]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "['stopped by SIGTERM']\n"), ended.stderr
