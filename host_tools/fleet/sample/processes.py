"""`Processes`: what the sample consists of, each with a log; watched, and ended in the reverse order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError, OutputError
from host_tools.free_port import free_port
from host_tools.parent_death import dying_with_us
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from host_tools.fleet.sample.ending import Ending

LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0
_LAST_LINES: Final = 8
_TAIL_BYTES: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One of them."""

    name: str
    log: Path
    handle: subprocess.Popen[bytes]

    @property
    def end(self) -> str:
        """How it ended, with the last lines of its log; empty while it runs."""
        status = self.handle.poll()
        if status is None:
            return ""
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return "\n".join([f"{self.name} has ended, {how}. {self.log} ends with:", *self._last_lines()])

    def _last_lines(self) -> list[str]:
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = stream.read().decode(errors="replace").splitlines()
        except OSError as error:
            return [f"  (cannot be read: {error.strerror})"]
        return [f"  {harmless(line)}" for line in lines[-_LAST_LINES:]] or ["  (nothing)"]


class Processes:
    """All of them.

    Args:
        logs: Folder of the logs.
        ending: Whether somebody wants the end.
    """

    def __init__(self, logs: Path, ending: Ending) -> None:
        self._logs = logs
        self._ending = ending
        self._running: list[Process] = []
        self._told: set[str] = set()

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Start one, in a session of its own: a Ctrl-C of the terminal is for the sample's command, which ends it in order.

        Raises:
            OutputError: It cannot be started.
        """
        log = self._logs / f"{name}.log"
        try:
            self._logs.mkdir(exist_ok=True)
            with log.open("ab") as stream:
                handle = subprocess.Popen(
                    [*dying_with_us("TERM"), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
        except OSError as error:
            raise OutputError(f"{name}: {error.filename}: {error.strerror}.") from error
        process = Process(name=name, log=log, handle=handle)
        self._running.append(process)
        return process

    def start_edgewright(self, name: str, *arguments: str | Path) -> Process:
        """Start a command of ours."""
        return self.start(name, [sys.executable, "-m", "host_tools", *map(str, arguments)])

    def wait_until(self, claim: Callable[[], bool], *, what: str) -> None:
        """Wait for something while all run.

        Raises:
            EndAsked: Somebody wants the end.
            OutputError: One has ended, or it takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not claim():
            self._ending.pause()
            for process in self._running:
                if process.end:
                    raise OutputError(process.end)
            if time.monotonic() > deadline:
                raise OutputError(
                    f"not within {_START_SECONDS:.0f} s: {what}.",
                    hint=f"The logs are in {self._logs}. Is the machine very busy?",
                )

    def finish(self, process: Process) -> None:
        """Wait until one has done what it was started for.

        Raises:
            EndAsked: Somebody wants the end.
            OutputError: It failed, or takes too long.
        """
        self._running.remove(process)
        try:
            self.wait_until(lambda: process.handle.poll() is not None, what=f"the end of {process.name}")
        finally:
            if process.handle.poll() is None:
                self._running.append(process)
        if process.handle.returncode:
            raise OutputError(process.end)

    def newly_ended(self) -> list[str]:
        """Return what is to be told of those that have ended since."""
        ended = {one.name: one.end for one in self._running if one.name not in self._told and one.end}
        self._told |= ended.keys()
        return list(ended.values())

    def end(self) -> None:
        """End all, the youngest first; who was started together ends together. Asked for once more, or after half a minute, they are killed."""
        asked = self._ending.asked
        for group in _groups(self._running):
            for process in group:
                if process.handle.poll() is None:
                    process.handle.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            while any(process.handle.poll() is None for process in group):
                if time.monotonic() > deadline or self._ending.asked > max(asked, 1):
                    for process in group:
                        _kill(process.handle)
                time.sleep(0.02)
        self._running.clear()


def _groups(running: Sequence[Process]) -> list[list[Process]]:
    """Return the agents, then each of the others, the youngest first: agents say goodbye while the broker is there."""
    agents = [one for one in running if one.name.startswith("lab-")]
    others = [one for one in running if not one.name.startswith("lab-")]
    return [agents, *([one] for one in reversed(others))]


def _kill(handle: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it has started."""
    if handle.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(handle.pid, signal.SIGKILL)
        handle.wait()


def require_free(port: int) -> int:
    """Return the port; any that is free for 0.

    Raises:
        InputError: Somebody listens there.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InputError(
                f"--port {port}: cannot be had: {error.strerror}.",
                hint="Does another server run? Choose another port, or 0 for any that is free.",
            ) from error
    return port


def listens(port: int) -> bool:
    """Return whether somebody listens at a port of loopback."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 0.5):
        return True
    return False
