"""How long a process waits for a processor, and whether it gets next to nothing of one: then waiting for it longer is of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LEAST_SHARE: Final = 0.1
"""Of the time in which it could have run. A process of niceness 19 beside one of 0 that never rests gets a seventieth."""
LEAST_SECONDS: Final = 10.0
"""Of waiting: less may be a busy moment."""
_PROC: Final = Path("/proc")


def is_starved(process: int, *, proc: Path = _PROC) -> bool:
    """Say whether a process has waited long for a processor, and hardly ever had one.

    Args:
        process: Its number; its first thread counts.
        proc: Where ``proc(5)`` is.

    Returns:
        False where the kernel does not say (no ``CONFIG_SCHED_INFO``), or the process is gone.

    Source: the kernel's Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat": nanoseconds on a processor, then of waiting for one.
    """
    ran, waited = _scheduled(process, proc)
    return waited >= LEAST_SECONDS and ran < LEAST_SHARE * (ran + waited)


def waited_seconds(process: int, *, proc: Path = _PROC) -> float:
    """Return how long a process has waited for a processor; 0 where the kernel does not say. Arguments as of `is_starved`."""
    return _scheduled(process, proc)[1]


def _scheduled(process: int, proc: Path) -> tuple[float, float]:
    """Return how long it had a processor, and how long it waited for one, in seconds."""
    try:
        ran, waited = (proc / str(process) / "schedstat").read_bytes().split()[:2]
        return int(ran) * 1e-9, int(waited) * 1e-9
    except (OSError, ValueError):
        return 0.0, 0.0
