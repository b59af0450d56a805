"""`ReplayedRails`: power rails behind monitors of three channels each (INA3221), in the tree that stands for ``/sys``.

Such a monitor has no file of power: the agent multiplies what it reads of a voltage and a current, here of one volt and of milliamperes.

Source: Linux, Documentation/hwmon/ina3221.rst; Documentation/hwmon/sysfs-interface.rst (mV, mA).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hil.rail_name import require_rail_name

if TYPE_CHECKING:
    from hil.protocols import Files

_CHANNELS: Final = 3
_MILLIVOLTS: Final = 1000
_FIRST_MONITOR: Final = 1
"""Number 0 is that of the whole board, which `ReplayedSysfs` has."""


class ReplayedRails:
    """See `Rails`.

    Args:
        files: The board's.
        root: The tree.
    """

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._monitors = f"{root}/class/hwmon/hwmon"
        self._places: dict[str, tuple[str, int]] = {}

    def set_watts(self, rail: str, watts: float) -> None:
        """See `Rails.set_watts`."""
        require_rail_name(rail, where="rail")
        if rail not in self._places:
            self._add(rail)
        folder, channel = self._places[rail]
        milliamperes = round(watts * 1e6 / _MILLIVOLTS)
        self._write(f"{folder}/curr{channel}_input", str(milliamperes))

    def clear(self) -> None:
        """See `Rails.clear`."""
        for folder in {folder for folder, _ in self._places.values()}:
            self._files.remove(folder)
        self._places.clear()

    def _add(self, rail: str) -> None:
        monitor, channel = divmod(len(self._places), _CHANNELS)
        folder = f"{self._monitors}{_FIRST_MONITOR + monitor}"
        self._places[rail] = folder, channel + 1
        self._write(f"{folder}/name", "ina3221")
        self._write(f"{folder}/in{channel + 1}_label", rail)
        self._write(f"{folder}/in{channel + 1}_input", str(_MILLIVOLTS))

    def _write(self, path: str, text: str) -> None:
        self._files.write(path, f"{text}\n".encode())
