"""`dying_with_us`: what begins a command so that the process ends when this one is killed, and nobody is left to end it."""

from __future__ import annotations

import shutil
import threading
from typing import Literal


def dying_with_us(signal_name: Literal["INT", "TERM", "KILL"]) -> list[str]:
    """Return what to put before a command: ``setpriv`` of util-linux, which becomes that command; nothing where it is not installed.

    The kernel sends the signal when the *thread* ends that started the command (prctl(2), PR_SET_PDEATHSIG). So it is nothing, too, in any
    thread but the main one: that may end long before the process shall. What the command starts itself is not meant.

    Args:
        signal_name: Which signal it gets.
    """
    program = shutil.which("setpriv")
    is_main = threading.current_thread() is threading.main_thread()
    return [program, "--pdeathsig", signal_name, "--"] if program is not None and is_main else []
