"""Whether a process of the lowest priority gets next to nothing of the processor: then waiting for it longer is of no use."""

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
    try:
        fields = (proc / str(process) / "schedstat").read_bytes().split()
        ran, waited = (int(field) * 1e-9 for field in fields[:2])
    except (OSError, ValueError):
        return False
    return waited >= LEAST_SECONDS and ran < LEAST_SHARE * (ran + waited)
