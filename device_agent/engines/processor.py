"""What this machine's processor can do, for some engines' kernels saturate, without a word, where it lacks something; how many there are."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """Return what this processor can do, as Linux names it (``avx512_vnni``); None where that is not told."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    told = (line.partition(":") for line in lines)
    return next((frozenset(value.split()) for name, _, value in told if name.strip() == "flags"), None)


def usable_processors() -> int:
    """Return on how many processors this process may run; where the system does not tell that (only Linux does), how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
