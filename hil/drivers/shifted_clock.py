"""`ShiftedClock`: the agent's clocks put on, back or hurried without root, through a module that Python imports at its start.

It moves what the agent takes for its messages' time, ``time.time``, and hurries what it waits by; the kernel's clock, TLS and file times
stay. What exactly, `clock_on_board` says, which is the module.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hil.drivers.clock_on_board import SETTING
from host_tools.errors import InputError

if TYPE_CHECKING:
    from hil.protocols import Files

_MODULE: Final = Path(__file__).with_name("clock_on_board.py")
MOST_HURRIED: Final = 1000.0


class ShiftedClock:
    """See `Clock`.

    Args:
        files: The board's.
        folder: Where the module is put; it must be the first of the agent's ``PYTHONPATH``.
    """

    def __init__(self, files: Files, folder: str) -> None:
        self.folder = folder
        self._files = files
        self._jump, self._rate = 0.0, 1.0
        files.write(f"{folder}/sitecustomize.py", _MODULE.read_bytes())
        self._set()

    def jump(self, seconds: float) -> None:
        """See `Clock.jump`."""
        self._jump = seconds
        self._set()

    def hurry(self, rate: float) -> None:
        """See `Clock.hurry`."""
        if not 1.0 <= rate <= MOST_HURRIED:
            raise InputError(
                f"hurry: expected 1 to {MOST_HURRIED:g} seconds in a true one, got {rate!r}.",
                hint="1 is the true pace.",
            )
        if rate != self._rate:
            self._rate = rate
            self._set()

    def _set(self) -> None:
        self._files.write(f"{self.folder}/{SETTING}", f"{self._jump!r} {self._rate!r}\n".encode())
