"""`ReplayedBattery`: a battery of 50 Wh in the tree that stands for ``/sys``, as most drivers tell one: the status has the sign, not the power.

All of its files change at once, however slow the line to the board is: new ones are made in a folder beside, and the link to it is
replaced, as `/sys/class/power_supply` is one of links.

Source: Linux, Documentation/ABI/testing/sysfs-class-power (%, µV, µA, µW, µWh).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hil.drivers.openssh import last_line
from hil.errors import RigError

if TYPE_CHECKING:
    from hil.protocols import Files, Shell

_MICROWATTHOURS: Final = 50_000_000
_EMPTY_VOLTS, _FULL_VOLTS = 10.0, 12.6
"""Three lithium cells."""
_FULL: Final = 0.995
_SET: Final = """\
set -e
next=$1; shift
rm -rf "$next"; mkdir -p "$next" "${0%/*}"
while [ $# -gt 0 ]; do
  printf '%s\\n' "$2" >"$next/$1"; shift 2
done
ln -sfn "$next" "$next.link"
mv -T "$next.link" "$0"
"""


class ReplayedBattery:
    """See `Battery`.

    Args:
        shell: The board's.
        files: The board's.
        root: The tree.
    """

    def __init__(self, shell: Shell, files: Files, root: str) -> None:
        self._shell = shell
        self._files = files
        self._link = f"{root}/class/power_supply/BAT0"
        self._folder = f"{root}/devices/battery"
        self._count = 0

    def set_charge(self, ratio: float, *, watts: float) -> None:
        """See `Battery.set_charge`."""
        volts = _EMPTY_VOLTS + ratio * (_FULL_VOLTS - _EMPTY_VOLTS)
        told = {
            "type": "Battery",
            "present": "1",
            "status": _status(ratio, watts),
            "capacity": str(round(ratio * 100)),
            "energy_full": str(_MICROWATTHOURS),
            "energy_now": str(round(ratio * _MICROWATTHOURS)),
            "voltage_now": str(round(volts * 1e6)),
            "current_now": str(round(abs(watts) / volts * 1e6)),
            "power_now": str(round(abs(watts) * 1e6)),
        }
        self._count += 1
        words = [word for pair in told.items() for word in pair]
        done = self._shell.run(["sh", "-c", _SET, self._link, f"{self._folder}/{self._count % 2}", *words])
        if done.status != 0:
            raise RigError(f"{self._link}: cannot be set: {last_line(done.stderr)}.")

    def take_out(self) -> None:
        """See `Battery.take_out`."""
        self._files.remove(self._link)
        self._files.remove(self._folder)


def _status(ratio: float, watts: float) -> str:
    if watts:
        return "Charging" if watts > 0.0 else "Discharging"
    return "Full" if ratio >= _FULL else "Not charging"
