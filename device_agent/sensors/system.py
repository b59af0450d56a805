"""Load of the machine and of this process, through psutil, and pressure. One object, because shares need the reading before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import psutil

from device_agent.sensors.cpufreq import mean_frequency_hertz
from device_agent.sensors.pressure import read_pressure
from device_agent.sensors.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_FIRST: Final = Absent("needs two samples; this is the first")


class SystemSensor:
    """Reads the fields of `SystemSample` that are not the spool's.

    Args:
        sysfs_root: ``/sys``, or a tree that stands for it.
        proc_root: ``/proc``, likewise; pressure alone is read there, the rest is asked of psutil.
        state_directory: The folder whose free space counts.
        pss_interval_seconds: How often the proportional memory is read: the kernel walks all mappings for it.
    """

    def __init__(
        self, *, sysfs_root: Path, proc_root: Path, state_directory: Path, pss_interval_seconds: float
    ) -> None:
        self._sysfs_root = sysfs_root
        self._proc_root = proc_root
        self._state_directory = state_directory
        self._pss_interval_seconds = pss_interval_seconds
        self._process = psutil.Process()
        self._pss_due_seconds = float("-inf")
        self._last_cpu: tuple[float, float] | None = None
        self._last_process: tuple[float, float] | None = None

    def read(self, now_seconds: float) -> Mapping[str, float | Absent]:
        """Return every value by the name it has in `SystemSample`.

        Args:
            now_seconds: Monotonic time of this read.
        """
        return {
            "cpu_ratio": _had(self._cpu_ratio),
            "process_cpu_ratio": _had(lambda: self._process_cpu_ratio(now_seconds)),
            "process_rss_bytes": _had(lambda: self._process.memory_info().rss),
            "process_pss_bytes": _had(lambda: self._pss_bytes(now_seconds)),
            "memory_available_bytes": _had(lambda: psutil.virtual_memory().available),
            "memory_total_bytes": _had(lambda: psutil.virtual_memory().total),
            "swap_used_bytes": _had(lambda: psutil.swap_memory().used),
            "load_1m": _had(lambda: os.getloadavg()[0]),
            "cpu_frequency_hertz": mean_frequency_hertz(self._sysfs_root),
            "storage_available_bytes": _had(self._storage_available_bytes),
            **{one.name: one.value for one in read_pressure(self._proc_root)},
        }

    def _cpu_ratio(self) -> float | Absent:
        times = psutil.cpu_times()
        # Guest time is contained in user time; waiting for a disk is idle.
        idle = times.idle + times.iowait
        total = times.user + times.nice + times.system + times.irq + times.softirq + times.steal + idle
        last, self._last_cpu = self._last_cpu, (total, idle)
        if last is None:
            return _FIRST
        elapsed = total - last[0]
        if elapsed <= 0:
            return Absent("the kernel's counters did not move since the last sample")
        return min(1.0, max(0.0, 1.0 - (idle - last[1]) / elapsed))

    def _process_cpu_ratio(self, now_seconds: float) -> float | Absent:
        times = self._process.cpu_times()
        used = times.user + times.system
        last, self._last_process = self._last_process, (now_seconds, used)
        if last is None:
            return _FIRST
        elapsed = now_seconds - last[0]
        return max(0.0, used - last[1]) / elapsed if elapsed > 0 else _FIRST

    def _pss_bytes(self, now_seconds: float) -> int | Absent:
        if now_seconds < self._pss_due_seconds:
            return Absent(f"read every {self._pss_interval_seconds:g} s, because it is costly")
        self._pss_due_seconds = now_seconds + self._pss_interval_seconds
        return int(self._process.memory_full_info().pss)

    def _storage_available_bytes(self) -> int:
        state = os.statvfs(self._state_directory)
        return state.f_bavail * state.f_frsize


def _had(read: Callable[[], float | Absent]) -> float | Absent:
    """Return what ``read`` gives, or why it gave nothing."""
    try:
        return read()
    except psutil.Error as error:
        return Absent(str(error)[:200] or type(error).__name__)
    except (OSError, AttributeError, ValueError) as error:  # psutil lets the kernel's own oddities through
        return Absent(f"{type(error).__name__}: {error}"[:200])
