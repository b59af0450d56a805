"""What this machine's processor can do: some engines' kernels saturate, without a word, on processors that lack an instruction."""

from __future__ import annotations

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
