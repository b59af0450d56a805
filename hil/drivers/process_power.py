"""`ProcessPower`: where nothing switches the machine, a power cut takes every process that was started on it, with SIGKILL.

What it does not do: lose what the kernel had not written to disk. A rig that needs that switches the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hil.protocols import Shell


class ProcessPower:
    """See `Power`."""

    cuts: Literal["machine", "process"] = "process"

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def cut(self) -> None:
        """See `Power.cut`."""
        self._shell.kill_all()

    def restore(self) -> None:
        """See `Power.restore`: the machine never went."""
