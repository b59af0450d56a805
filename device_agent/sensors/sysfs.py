"""Reading the kernel's small files: one raw read of at most 128 bytes; every failure is `Absent` with its reason.

Buffered readers are avoided on purpose: some drivers answer EAGAIN or EIO for ever, and a buffered read would ask
again and again (node_exporter, ``collector/hwmon_linux.go``).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import INTEGER_RANGE
from device_agent.sensors.reading import Absent

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 128
_ABSOLUTE_ZERO_CELSIUS: Final = -273.15
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def read_text(path: Path) -> str | Absent:
    """Return a file's text without surrounding white space; `Absent` when it cannot be read or is empty."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, _MAX_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Absent(f"{errno.errorcode.get(error.errno or 0, 'error')} on {path}")
    text = data.decode("ascii", "replace").strip("\0 \t\r\n")
    return text or Absent(f"{path} is empty")


def read_integer(path: Path) -> int | Absent:
    """Return the integer that a file holds; `Absent` when it cannot be read or is none that the kernel has, which are of 64 bits."""
    text = read_text(path)
    if isinstance(text, Absent):
        return text
    try:
        number = int(text)
    except ValueError:
        return Absent(f"{path} holds {text[:24]!r}, not an integer")
    return number if number in INTEGER_RANGE else Absent(f"{path} holds {text[:24]}…, beyond 64 bits")


def read_scaled(path: Path, factor: float) -> float | Absent:
    """Return the integer that a file holds times ``factor``, which turns the kernel's unit into a base unit."""
    number = read_integer(path)
    return number if isinstance(number, Absent) else number * factor


def read_celsius(path: Path, factor: float) -> float | Absent:
    """Return a temperature; `Absent` too where it is below absolute zero, as the kernel's mark of an invalid one is (-274 °C).

    Source: Linux, ``include/linux/thermal.h``, ``THERMAL_TEMP_INVALID``.
    """
    celsius = read_scaled(path, factor)
    if isinstance(celsius, Absent) or celsius >= _ABSOLUTE_ZERO_CELSIUS:
        return celsius
    return Absent(f"{path} says {celsius:g} °C, which cannot be")


def is_there(path: Path) -> bool:
    """Return whether there is something, be it that it may not be looked at (`Path.exists` raises then): whoever reads it is told why."""
    try:
        path.stat()
    except OSError as error:
        return error.errno not in _NOT_THERE
    return True


def children(folder: Path, prefix: str = "") -> list[Path]:
    """Return the entries whose names begin with ``prefix``, numbers in their order; empty when there is no such folder."""
    try:
        found = [entry for entry in folder.iterdir() if entry.name.startswith(prefix)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: (len(entry.name), entry.name))
