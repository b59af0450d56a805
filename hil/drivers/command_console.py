"""`CommandConsole`: what a command of this machine writes is what the board says: a serial line on USB, a port of a console server.

Nothing is typed into it. It is kept in a file from the rig's opening on, so that a board that does not come up has its last words.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from hil.errors import RigError
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_END_SECONDS = 5.0


class CommandConsole:
    """See `Console`.

    Args:
        command: Runs until it is ended, and needs no terminal.
        folder: On this machine, for what it writes.

    Raises:
        RigError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = " ".join(command)
        if shutil.which(command[0]) is None:
            raise RigError(f"console: {command[0]}: cannot be started: not found.")
        self._file = folder / "console"
        try:
            with self._file.open("wb") as said:
                self._process = subprocess.Popen(
                    [*dying_with_us("KILL"), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            raise RigError(f"console: {command[0]}: cannot be started: {error.strerror or error}.") from error

    def text(self) -> str:
        """See `Console.text`; where the command has ended by itself, that is its last line."""
        said = self._file.read_bytes().decode(errors="replace")
        status = self._process.poll()
        return said if status is None else f"{said}\n[{self._command}: ended with status {status}]\n"

    def close(self) -> None:
        """End the command. Calling twice is harmless."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
