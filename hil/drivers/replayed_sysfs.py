"""`ReplayedSysfs`: a tree that stands for ``/sys``, laid out as a small board's kernel lays it out, whose values can be moved.

One thermal zone, one cooling device of the processor, and one power monitor (INA226). Real boards have `sensors = "board"`.

Source: Linux, Documentation/driver-api/thermal/sysfs-api.rst (m°C), Documentation/hwmon/sysfs-interface.rst (µW).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.senses import AMBIENT_CELSIUS

if TYPE_CHECKING:
    from hil.protocols import Files

_IDLE_WATTS = 2.0
_COOLING_STEPS = 4


class ReplayedSysfs:
    """See `Thermal` and `Meter`.

    Args:
        files: The board's.
        root: Where the tree is made on the board.

    Attributes:
        zone_file: The file that tells the temperature.
    """

    def __init__(self, files: Files, root: str) -> None:
        self.root = root
        self._files = files
        self._zone = f"{root}/class/thermal/thermal_zone0"
        self.zone_file = f"{self._zone}/temp"
        self._cooling = f"{root}/class/thermal/cooling_device0"
        self._monitor = f"{root}/class/hwmon/hwmon0"
        self._write(f"{self._zone}/type", "cpu-thermal")
        self._write(f"{self._cooling}/type", "cpufreq-cpu0")
        self._write(f"{self._cooling}/max_state", str(_COOLING_STEPS))
        self._write(f"{self._monitor}/name", "ina226")
        self.set_celsius(AMBIENT_CELSIUS)
        self.set_throttled(is_throttled=False)
        self.set_watts(_IDLE_WATTS)

    def set_celsius(self, celsius: float) -> None:
        """See `Thermal.set_celsius`."""
        self._write(self.zone_file, str(round(celsius * 1e3)))

    def set_throttled(self, *, is_throttled: bool) -> None:
        """See `Thermal.set_throttled`."""
        self._write(f"{self._cooling}/cur_state", "1" if is_throttled else "0")

    def take_away(self) -> None:
        """See `Thermal.take_away`."""
        self._files.remove(self.zone_file)

    def set_watts(self, watts: float) -> None:
        """See `Meter.set_watts`."""
        self._write(f"{self._monitor}/power1_input", str(round(watts * 1e6)))

    def _write(self, path: str, text: str) -> None:
        self._files.write(path, f"{text}\n".encode())
