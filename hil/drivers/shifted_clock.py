"""`ShiftedClock`: the agent's wall clock put on or back without root, through a module that Python imports at its start.

It moves what the agent takes for its messages' time, ``time.time``; the kernel's clock, TLS and file times stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.protocols import Files

_MODULE = '''"""Shifts time.time by the seconds in the file `offset` beside this one."""

import pathlib
import time

_offset = pathlib.Path(__file__).with_name("offset")
_true_time = time.time


def _shifted_time():
    try:
        return _true_time() + float(_offset.read_text())
    except (OSError, ValueError):
        return _true_time()


time.time = _shifted_time
'''


class ShiftedClock:
    """See `Clock`.

    Args:
        files: The board's.
        folder: Where the module is put; it must be the first of the agent's ``PYTHONPATH``.
    """

    def __init__(self, files: Files, folder: str) -> None:
        self.folder = folder
        self._files = files
        files.write(f"{folder}/sitecustomize.py", _MODULE.encode())
        self.jump(0.0)

    def jump(self, seconds: float) -> None:
        """See `Clock.jump`."""
        self._files.write(f"{self.folder}/offset", f"{seconds!r}\n".encode())
