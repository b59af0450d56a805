"""A rig whose board hears nothing while it is off, and takes its time: this machine, with sensors that refuse then, and that keep what they were told."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.drivers.process_power import ProcessPower
from hil.errors import RigError
from hil.rigs import local

if TYPE_CHECKING:
    from hil.board import Board
    from hil.protocols import Shell
    from hil.rig import Rig
    from hil.senses import Thermal

TAKES_SECONDS = 0.6
"""Longer than a step of a curve."""


def tell(what: str, value: float | None = None) -> None:
    with Path(os.environ["EDGEWRIGHT_TEST_TOLD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "value": value, "at": time.monotonic()}) + "\n")


class ToldPower(ProcessPower):
    """See `Power`."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self.is_on = True

    def cut(self) -> None:
        """See `Power.cut`."""
        super().cut()
        self.is_on = False
        tell("off")

    def restore(self) -> None:
        """See `Power.restore`."""
        super().restore()
        self.is_on = True
        tell("on")


class DeafThermal:
    """See `Thermal`."""

    def __init__(self, thermal: Thermal, power: ToldPower) -> None:
        self._thermal = thermal
        self._power = power

    def set_celsius(self, celsius: float) -> None:
        """See `Thermal.set_celsius`."""
        self._require_on("celsius", celsius)
        time.sleep(TAKES_SECONDS)
        self._thermal.set_celsius(celsius)

    def take_away(self) -> None:
        """See `Thermal.take_away`."""
        self._require_on("gone")
        self._thermal.take_away()

    def set_throttled(self, *, is_throttled: bool) -> None:
        """See `Thermal.set_throttled`."""
        self._require_on("throttled", is_throttled)
        self._thermal.set_throttled(is_throttled=is_throttled)

    def _require_on(self, what: str, value: float | None = None) -> None:
        if not self._power.is_on:
            raise RigError("the board is off: no route to host.")
        tell(what, value)


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`."""
    rig = local.open_rig(board, folder)
    power = ToldPower(rig.shell)
    if rig.parts.thermal is None:
        raise RigError("the rig local has no temperature.")
    rig.parts = replace(rig.parts, power=power, thermal=DeafThermal(rig.parts.thermal, power))
    return rig
