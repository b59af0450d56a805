"""`HardwareMonitor`: a temperature through the kernel's own driver: `lm75` reads it from a chip that `i2c-stub` stands for.

What the agent reads is what the driver makes of the chip's register, through ``hwmon``; a sensor that is gone is a driver that was unbound.
The tree that the agent reads is the replayed one, whose thermal zone leads to the driver's file; whether the processor is slowed down and
what the board draws has no chip here, and stays replayed.

Source: Linux, Documentation/i2c/i2c-stub.rst; Documentation/hwmon/lm75.rst (nine bits, half a degree Celsius each, in the upper bits of a
word whose upper byte comes first).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.drivers.openssh import last_line
from hil.errors import RigError, UnsupportedFeatureError
from hil.senses import AMBIENT_CELSIUS

if TYPE_CHECKING:
    from hil.drivers.replayed_sysfs import ReplayedSysfs
    from hil.protocols import Shell

_LOWEST_HALVES, _HIGHEST_HALVES = -256, 255
_SCRIPT = """\
set -e
if [ ! -d /sys/module/i2c_stub ]; then
  modprobe i2c-stub chip_addr=0x48; modprobe i2c-dev; modprobe lm75
fi
for name in /sys/class/i2c-adapter/i2c-*/name; do
  if grep -q "SMBus stub" "$name"; then adapter=${name%/name}; fi
done
bus=${adapter##*-}; chip=$bus-0048
[ -e "/sys/bus/i2c/devices/$chip" ] || echo lm75 0x48 >"$adapter/new_device"
"""
_SET = f"""{_SCRIPT}
i2cset -f -y "$bus" 0x48 0 "$1" w
[ -e "/sys/bus/i2c/drivers/lm75/$chip" ] || echo "$chip" >/sys/bus/i2c/drivers/lm75/bind
ln -sfn /sys/bus/i2c/devices/"$chip"/hwmon/hwmon*/temp1_input "$0"
"""
_TAKE_AWAY = f"""{_SCRIPT}
[ ! -e "/sys/bus/i2c/drivers/lm75/$chip" ] || echo "$chip" >/sys/bus/i2c/drivers/lm75/unbind
"""


class HardwareMonitor:
    """See `Thermal`.

    Args:
        shell: The board's, as root.
        replayed: The tree that the agent reads.
    """

    def __init__(self, shell: Shell, replayed: ReplayedSysfs) -> None:
        self._shell = shell
        self._replayed = replayed
        self._celsius = AMBIENT_CELSIUS
        self.set_celsius(AMBIENT_CELSIUS)

    def set_celsius(self, celsius: float) -> None:
        """See `Thermal.set_celsius`; to half a degree.

        Raises:
            UnsupportedFeatureError: The chip does not tell such a temperature.
        """
        word = register(celsius)
        self._celsius = celsius
        self._do(_SET, f"0x{word:04x}")

    def set_throttled(self, *, is_throttled: bool) -> None:
        """See `Thermal.set_throttled`: replayed."""
        self._replayed.set_throttled(is_throttled=is_throttled)

    def take_away(self) -> None:
        """See `Thermal.take_away`: the driver is unbound."""
        self._do(_TAKE_AWAY)

    def set_up_again(self) -> None:
        """Bring chip and driver back after the board was off."""
        self.set_celsius(self._celsius)

    def _do(self, script: str, *arguments: str) -> None:
        done = self._shell.run(["sh", "-c", script, self._replayed.zone_file, *arguments])
        if done.status != 0:
            raise RigError(f"the board's hardware monitor cannot be set: {last_line(done.stderr)}.")


def register(celsius: float) -> int:
    """Return what the chip's register holds at a temperature, as a word of SMBus has it: the lower byte first.

    Raises:
        UnsupportedFeatureError: It is beyond nine bits, which would tell another one: -106 °C for 150.
    """
    halves = round(celsius * 2)
    if not _LOWEST_HALVES <= halves <= _HIGHEST_HALVES:
        raise UnsupportedFeatureError(
            f"the board's hardware monitor (lm75) tells {_LOWEST_HALVES / 2:g} to {_HIGHEST_HALVES / 2:g} °C, got {celsius:g} °C.",
            hint="Ask for less heat, or take a rig whose temperature is replayed.",
        )
    word = (halves << 7) & 0xFFFF
    return (word & 0xFF) << 8 | word >> 8
