"""Memory of the agent and of the child processes that it has at a moment, from outside."""

from __future__ import annotations

import collections
import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.agent.footprint import smaps_rollup

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAPPINGS_EVERY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Memory at one moment, bytes.

    Attributes:
        agent: Proportional set of the agent's process.
        children: Of all its child processes; 0: there was none.
        alone: What all of them would have if nobody else on the machine shared a page with them; None: not looked at.
    """

    agent: float
    children: float
    alone: float | None = None

    @property
    def total(self) -> float:
        """Of all."""
        return self.agent + self.children


class Watcher:
    """Samples a process and its children on a thread, until `stop`.

    Args:
        pid: The process.
        interval_seconds: Pause between samples.
    """

    def __init__(self, pid: int, *, interval_seconds: float) -> None:
        self._pid = pid
        self._interval_seconds = interval_seconds
        self._samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Sample]:
        """End, and return the samples."""
        self._stop.set()
        self._thread.join()
        return self._samples

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self._interval_seconds):
            number += 1
            with contextlib.suppress(OSError, KeyError):  # a process went while it was looked at
                self._samples.append(sample(self._pid, mappings=number % _MAPPINGS_EVERY == 0))


def sample(pid: int, *, mappings: bool = False) -> Sample:
    """Look at a process and its children; at every mapping too, where that is asked for, which takes longer.

    Raises:
        OSError: The process went.
        KeyError: Likewise: it has no memory any more.
    """
    agent = _pss(pid)
    own = _command(pid)
    total, family = 0.0, [pid]
    for child in children(pid):
        with contextlib.suppress(OSError, KeyError):
            # Between `vfork` and `exec` a child has its parent's memory and command: it would be counted twice.
            if _command(child) != own:
                total += _pss(child)
                family.append(child)
    alone = union([Path(f"/proc/{one}/smaps").read_text("utf-8") for one in family]) if mappings else None
    return Sample(agent=agent, children=total, alone=alone)


def union(smaps: Sequence[str]) -> float:
    """Return what some processes have together when nobody else shares a page, in bytes, from their ``/proc/PID/smaps``.

    A file's unchanged pages count once, as many as the process has that has most of them; all others are each process's own.
    """
    own, files = 0.0, collections.Counter[str]()
    for text in smaps:
        clean = collections.Counter[str]()
        name, resident = "", 0.0
        for line in text.splitlines():
            head, *rest = line.split()
            if not head.endswith(":"):
                name = rest[4] if len(rest) > 4 and rest[3] != "0" else ""
            elif head == "Rss:":
                resident = float(rest[0])
            elif head == "Private_Dirty:":
                dirty = float(rest[0]) if name else resident
                own += dirty
                clean[name] += int(resident - dirty)
        files |= clean  # the larger of both, file by file
    return 1024.0 * (own + sum(files.values()))


def children(pid: int) -> list[int]:
    """Return the child processes of all threads of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _pss(pid: int) -> float:
    return smaps_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))["Pss"]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
