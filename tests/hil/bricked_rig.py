"""A rig whose board does not come up once its power was cut: this machine, with a switch that never gives the power back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hil.drivers.process_power import ProcessPower
from hil.errors import BootError
from hil.rigs import local

if TYPE_CHECKING:
    from pathlib import Path

    from hil.board import Board
    from hil.rig import Rig


class BrickingPower(ProcessPower):
    """See `Power`."""

    def restore(self) -> None:
        """See `Power.restore`."""
        raise BootError("the board is not up after 1 s; its console says last:\nKernel panic - not syncing")


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`."""
    rig = local.open_rig(board, folder)
    rig.parts = replace(rig.parts, power=BrickingPower(rig.shell))
    return rig
