"""Facts of the machine that do not change while the agent runs, and whether its clock can be trusted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.sensors.sysfs import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMESYNC: Final = Path("/run/systemd/timesync/synchronized")
_TIME_ERROR: Final = 5
"""``adjtimex`` returns TIME_ERROR while the kernel's clock is not synchronized. Source: adjtimex(2)."""
_TIMEX_BYTES: Final = 256
"""More than ``struct timex`` takes on any Linux (208 on 64-bit machines); zeros ask for nothing to be changed."""


def host_facts(*, proc_root: Path = Path("/proc")) -> Mapping[str, str | int]:
    """Return machine, kernel, system, processor model and count; what cannot be had is left out."""
    facts: dict[str, str | int] = {"machine": platform.machine(), "kernel": platform.release()}
    facts["cpu_count"] = os.cpu_count() or 1
    model = _cpu_model(proc_root)
    if model:
        facts["cpu_model"] = model
    board = read_text(proc_root / "device-tree/model")
    if isinstance(board, str):
        facts["board"] = board
    return facts


def clock_is_synchronized() -> bool:
    """Return whether a time service has set the clock: systemd-timesyncd's mark, else the kernel's own word."""
    with contextlib.suppress(OSError):  # it is not there, or may not be looked at
        _TIMESYNC.stat()
        return True
    try:
        return _adjtimex() != _TIME_ERROR
    except (OSError, AttributeError):  # no C library with adjtimex: nothing vouches for the clock
        return False


def boot_id(proc_root: Path = Path("/proc")) -> str:
    """Return an id of this run of the agent: the kernel's boot id, which groups runs of one boot, and 32 random bits of our own."""
    kernel = read_text(proc_root / "sys/kernel/random/boot_id")
    own = os.urandom(4).hex()
    return f"{kernel}-{own}" if isinstance(kernel, str) else f"{os.urandom(16).hex()}-{own}"


def _adjtimex() -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if result < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return result


def _cpu_model(proc_root: Path) -> str:
    try:
        text = (proc_root / "cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()[:200]
    return ""
