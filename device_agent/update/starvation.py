"""How long a process waits for a processor, and whether it gets next to nothing of one: then waiting for it longer is of no use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LEAST_SHARE: Final = 0.1
"""Of the time in which it could have run. A process of niceness 19 beside one of 0 that never rests gets a seventieth."""
LEAST_SECONDS: Final = 10.0
"""Of waiting: less may be a busy moment."""
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What became of a process that was ready to run.

    Attributes:
        ran_seconds: On a processor.
        waited_seconds: For one.
    """

    ran_seconds: float
    waited_seconds: float

    @property
    def is_starved(self) -> bool:
        """Whether it has waited long, and hardly ever ran."""
        return self.waited_seconds >= LEAST_SECONDS and self.ran_seconds < LEAST_SHARE * (
            self.ran_seconds + self.waited_seconds
        )


def scheduled(process: int, *, proc: Path = _PROC) -> Scheduled:
    """Return what the kernel says of a process; nothing but zeros where it does not say (no ``CONFIG_SCHED_INFO``), or the process is gone.

    Args:
        process: Its number; its first thread counts.
        proc: Where ``proc(5)`` is.

    Source: the kernel's Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat": nanoseconds on a processor, then of waiting for one.
    """
    try:
        ran, waited = (proc / str(process) / "schedstat").read_bytes().split()[:2]
        return Scheduled(ran_seconds=int(ran) * 1e-9, waited_seconds=int(waited) * 1e-9)
    except (OSError, ValueError):
        return Scheduled(ran_seconds=0.0, waited_seconds=0.0)
