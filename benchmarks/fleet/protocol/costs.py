"""`Costs`: processor time and memory of programs and all that they have started, looked at from outside while they run."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.agent.footprint import smaps_rollup
from benchmarks.agent.processes import children

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SAMPLE_SECONDS: Final = 1.0
_HEADS: Final = ("devices",)
"""Programs whose names begin so count as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one program took.

    Attributes:
        processor_seconds: Of user and system together, with its child processes.
        peak_rss_bytes: Most that was resident at a look, of all its processes together.
        peak_pss_bytes: Likewise, a page that several share counted once.
    """

    processor_seconds: float
    peak_rss_bytes: float
    peak_pss_bytes: float


class Costs:
    """Looks once a second, on a thread of its own. What a process did in its last second before it was killed is missing.

    Args:
        running: Returns the process ids by name.
    """

    def __init__(self, running: Callable[[], Mapping[str, int]]) -> None:
        self._running = running
        self._lock = threading.Lock()
        self._seconds: dict[str, dict[tuple[int, float], float]] = defaultdict(dict)
        self._began: dict[str, float] = {}
        self._rss: dict[str, float] = defaultdict(float)
        self._pss: dict[str, float] = defaultdict(float)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count from now on."""
        self._look()
        with self._lock:
            self._began = {name: sum(seconds.values()) for name, seconds in self._seconds.items()}
            self._rss.clear()
            self._pss.clear()

    def taken(self) -> dict[str, Cost]:
        """Return what each program took since `begin`."""
        self._look()
        with self._lock:
            return {
                name: Cost(
                    processor_seconds=sum(seconds.values()) - self._began.get(name, 0.0),
                    peak_rss_bytes=self._rss[name],
                    peak_pss_bytes=self._pss[name],
                )
                for name, seconds in self._seconds.items()
            }

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        rss: dict[str, float] = defaultdict(float)
        pss: dict[str, float] = defaultdict(float)
        with self._lock:
            for name, number in self._running().items():
                head = next((one for one in _HEADS if name.startswith(one)), name)
                for process in family(number):
                    with contextlib.suppress(
                        psutil.Error, OSError, KeyError
                    ):  # it went while it was looked at
                        times = process.cpu_times()
                        self._seconds[head][process.pid, process.create_time()] = times.user + times.system
                        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
                        sizes = smaps_rollup(text)
                        rss[head] += sizes["Rss"]
                        pss[head] += sizes["Pss"]
            for most, found in ((self._rss, rss), (self._pss, pss)):
                for name, size in found.items():
                    most[name] = max(most[name], size)


def family(number: int) -> list[psutil.Process]:
    """Return a process and all that it has started, itself first; those that are there still."""
    found: list[psutil.Process] = []
    waiting = [number]
    with contextlib.suppress(psutil.Error, OSError):  # as above
        while waiting:
            found.append(psutil.Process(waiting.pop()))
            waiting += children(found[-1].pid)  # psutil would look at every process of the machine
    return found
