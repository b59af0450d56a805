"""A kind of rig as somebody else writes one, by docs/hil.md: one file, with nothing but what is required, a shell and files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import device_agent
from hil.rig import Parts, Rig
from hil.rigs.local import LocalFiles, LocalShell

if TYPE_CHECKING:
    from hil.board import Board


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`."""
    environment = {"PYTHONPATH": str(Path(device_agent.__file__).parents[1])}
    return Rig(
        board=board,
        parts=Parts(shell=LocalShell(environment), files=LocalFiles()),
        folder=str(folder),
        agent_command=(sys.executable, "-m", "device_agent"),
        environment=environment,
    )


NO_FUNCTION = "a text"
