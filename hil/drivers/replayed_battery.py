"""`ReplayedBattery`: a battery of 50 Wh in the tree that stands for ``/sys``, as most drivers tell one: the status has the sign, not the power.

Source: Linux, Documentation/ABI/testing/sysfs-class-power (%, µV, µA, µW, µWh).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hil.protocols import Files

_MICROWATTHOURS: Final = 50_000_000
_EMPTY_VOLTS, _FULL_VOLTS = 10.0, 12.6
"""Three lithium cells."""
_FULL: Final = 0.995


class ReplayedBattery:
    """See `Battery`.

    Args:
        files: The board's.
        root: The tree.
    """

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._folder = f"{root}/class/power_supply/BAT0"
        self._written: dict[str, str] = {}

    def set_charge(self, ratio: float, *, watts: float) -> None:
        """See `Battery.set_charge`. Only what changes is written: over a slow line every file counts."""
        volts = _EMPTY_VOLTS + ratio * (_FULL_VOLTS - _EMPTY_VOLTS)
        told = {
            "present": "1",
            "status": _status(ratio, watts),
            "capacity": str(round(ratio * 100)),
            "energy_full": str(_MICROWATTHOURS),
            "energy_now": str(round(ratio * _MICROWATTHOURS)),
            "voltage_now": str(round(volts * 1e6)),
            "current_now": str(round(abs(watts) / volts * 1e6)),
            "power_now": str(round(abs(watts) * 1e6)),
            "type": "Battery",  # the last that a new one gets: before it nobody takes the folder for a battery
        }
        for name, text in told.items():
            if self._written.get(name) != text:
                self._files.write(f"{self._folder}/{name}", f"{text}\n".encode())
                self._written[name] = text

    def take_out(self) -> None:
        """See `Battery.take_out`."""
        self._files.remove(self._folder)
        self._written.clear()


def _status(ratio: float, watts: float) -> str:
    if watts:
        return "Charging" if watts > 0.0 else "Discharging"
    return "Full" if ratio >= _FULL else "Not charging"
