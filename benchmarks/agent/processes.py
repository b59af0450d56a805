"""Memory of the agent and of the child processes that it has at a moment, from outside."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent.footprint import smaps_rollup


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Proportional set at one moment, bytes.

    Attributes:
        agent: Of the agent's process.
        children: Of all its child processes; 0: there was none.
    """

    agent: float
    children: float

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
        while not self._stop.wait(self._interval_seconds):
            with contextlib.suppress(OSError, KeyError):  # a process went while it was looked at
                self._samples.append(sample(self._pid))


def sample(pid: int) -> Sample:
    """Look at a process and its children.

    Raises:
        OSError: The process went.
        KeyError: Likewise: it has no memory any more.
    """
    agent = _pss(pid)
    own = _command(pid)
    total = 0.0
    for child in children(pid):
        with contextlib.suppress(OSError, KeyError):
            # Between `vfork` and `exec` a child has its parent's memory and command: it would be counted twice.
            if _command(child) != own:
                total += _pss(child)
    return Sample(agent=agent, children=total)


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
