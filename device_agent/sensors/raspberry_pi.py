"""What only a Raspberry Pi's firmware knows: whether it throttles and why, and the rails of the Pi 5's power chip.

Flags come from sysfs where the kernel has them, else from ``vcgencmd``. The kernel's own under-voltage driver asks the
firmware to forget what has occurred, so the flags of what has occurred are not "since the start" for certain.

Source: Raspberry Pi documentation, "vcgencmd" (bits of ``get_throttled``; ``pmic_read_adc``);
Linux, drivers/hwmon/raspberrypi-hwmon.c.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from device_agent.sensors.board import board_model, has_pmic_adc, is_raspberry_pi
from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.sysfs import children, is_there, read_text

if TYPE_CHECKING:
    from pathlib import Path

FLAGS: Final = {
    0: "under_voltage",
    1: "frequency_capped",
    2: "throttled",
    3: "soft_temperature_limit",
}
"""What is so now, by bit; 16 bits further up stands what has occurred."""
_OCCURRED: Final = 16
_WORD: Final = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})")
_ADC: Final = re.compile(r"\s*(\S{1,32})_([AV])\s+(?:current|volt)\(\d+\)=(\d{1,6}(?:\.\d{1,9})?)[AV]\s*")
_INPUT_RAIL: Final = "EXT5V"
_TIMEOUT_SECONDS: Final = 2.0
_MOST_TEXT: Final = 8_192


def read_throttling(sysfs_root: Path, vcgencmd: Path | None) -> list[Measured]:
    """Return each flag, 0 or 1; nothing on another board."""
    if not is_raspberry_pi(board_model(sysfs_root)):
        return []
    flags = parse_throttled(_throttled_text(sysfs_root, vcgencmd))
    readings = []
    for bit, name in FLAGS.items():
        for offset, suffix in ((0, ""), (_OCCURRED, "_occurred")):
            value = flags if isinstance(flags, Absent) else float(flags >> (bit + offset) & 1)
            readings.append(_reading(f"rpi_{name}{suffix}_state", value, scope="firmware"))
    return readings


def read_pmic(sysfs_root: Path, vcgencmd: Path | None) -> list[Measured]:
    """Return the power of the Pi 5's rails together, and the voltage of its input; nothing on another board.

    The sum leaves out what the regulators lose and what hangs on 5 V directly (USB), for the input has no current
    sensor: it is not the power of the board.
    """
    if not has_pmic_adc(board_model(sysfs_root)):
        return []
    text = _asked(vcgencmd, "pmic_read_adc")
    watts, volts = (text, text) if isinstance(text, Absent) else parse_pmic(text)
    return [
        _reading("pmic_rails_watts", watts, scope="pmic_rails"),
        _reading("ext5v_volts", volts, scope="input"),
    ]


def parse_throttled(text: str | Absent) -> int | Absent:
    """Return the flags of ``50005`` (sysfs) or ``throttled=0x50005`` (vcgencmd)."""
    if isinstance(text, Absent):
        return text
    match = _WORD.fullmatch(text.strip())
    return Absent(f"get_throttled answers {text.strip()[:40]!r}") if match is None else int(match[1], 16)


def parse_pmic(text: str) -> tuple[float | Absent, float | Absent]:
    """Return the watts of all rails with voltage and current, and the volts of the 5 V input, from ``pmic_read_adc``."""
    values: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        match = _ADC.fullmatch(line)
        if match:
            values[match[1], match[2]] = float(match[3])
    rails = [rail for rail, kind in values if kind == "A" and (rail, "V") in values]
    if not rails:
        nothing = Absent(f"pmic_read_adc answers {text.strip()[:60]!r}")
        return nothing, nothing
    watts = sum(values[rail, "V"] * values[rail, "A"] for rail in rails)
    return watts, values.get((_INPUT_RAIL, "V"), Absent(f"pmic_read_adc has no {_INPUT_RAIL}_V"))


def _throttled_text(sysfs_root: Path, vcgencmd: Path | None) -> str | Absent:
    for bus in (sysfs_root / "devices/platform/soc", sysfs_root / "devices/platform", *_buses(sysfs_root)):
        for firmware in children(bus):
            if "firmware" in firmware.name and is_there(firmware / "get_throttled"):
                return read_text(firmware / "get_throttled")
    return _asked(vcgencmd, "get_throttled")


def _buses(sysfs_root: Path) -> list[Path]:
    """Where the firmware's node hangs differs from model to model: ``soc``, ``soc@107c000000``, ``axi``."""
    return children(sysfs_root / "devices/platform", "soc@") + children(
        sysfs_root / "devices/platform", "axi"
    )


def _asked(vcgencmd: Path | None, question: str) -> str | Absent:
    """Ask the firmware through a process: no more than a few times a second."""
    if vcgencmd is None:
        return Absent("no vcgencmd: install raspi-utils, or name it in sensors.vcgencmd")
    try:
        done = subprocess.run(
            [os.fspath(vcgencmd), question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Absent(f"{vcgencmd} {question} gave no answer in {_TIMEOUT_SECONDS:g} s")
    except OSError as error:
        return Absent(f"{vcgencmd} cannot be run: {error.strerror or error}")
    text = done.stdout[:_MOST_TEXT].decode("ascii", "replace")
    if done.returncode:
        said = (done.stderr or done.stdout)[:80].decode("ascii", "replace").strip()
        return Absent(f"{vcgencmd} {question} failed ({said}): is the agent in group video?")
    return text


def _reading(name: str, value: float | Absent, *, scope: str) -> Measured:
    return Measured(name=name, value=value, source="raspberry_pi", scope=scope, quality="sampled")
