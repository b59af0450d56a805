"""`Programs`: what the benchmark starts, each with a log; ended in the reverse order, and with the benchmark."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.fleet.protocol.costs import family
from host_tools.errors import InputError, OutputError
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

_STOP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
_TAIL_CHARACTERS: Final = 2_000


class Programs:
    """All of them.

    Args:
        logs: Folder of the logs.

    Attributes:
        running: By name.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str | Path) -> None:
        """Start one, in a session of its own."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*dying_with_us("TERM"), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_python(self, name: str, module: str, *arguments: str | Path) -> None:
        """Start a module."""
        self.start(name, sys.executable, "-m", module, *arguments)

    def kill(self, name: str) -> None:
        """Kill one with all that it has started, as a power cut would."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGSTOP)  # it starts nothing while its children are looked for
        members = family(process.pid)
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(_STOP_SECONDS)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(map(_runs, members[1:])) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def kill_child(self, name: str, drawn: random.Random) -> None:
        """Kill one of the processes that a program has started; nothing where it has none just now."""
        children = family(self.running[name].pid)[1:]
        if children:
            with contextlib.suppress(psutil.NoSuchProcess):
                drawn.choice(children).kill()

    def wait_until(
        self, claim: Callable[[], bool], *, what: str, seconds: float, look_seconds: float
    ) -> None:
        """Wait for something while all run, and look for it so often.

        Raises:
            OutputError: One has ended, or it takes too long.
        """
        deadline = time.monotonic() + seconds
        while not claim():
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise OutputError(
                        f"{name} has ended with status {process.returncode}. Its log ends with:\n{self._tail(name)}"
                    )
            if time.monotonic() > deadline:
                raise OutputError(
                    f"not within {seconds:.0f} s: {what}.",
                    hint=f"The logs are in {self._logs}. Is the machine very busy?",
                )
            time.sleep(look_seconds)

    def end(self) -> None:
        """End all, the youngest first; those that hold devices together. What does not end in a minute is killed."""
        devices = [name for name in self.running if name.startswith("devices")]
        others = [[name] for name in reversed(self.running) if name not in devices]
        for names in (devices, *others):
            group = [self.running[name] for name in names]
            for process in group:
                process.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            for process in group:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self.running.clear()

    def _tail(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text(errors="replace")[-_TAIL_CHARACTERS:]


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files, which its children have too.

    Raises:
        InputError: The machine does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < count:
        raise InputError(
            f"open files: {count} are needed for so many devices, the hard limit is {hard}.",
            hint="Ask for fewer devices or more processes, or raise the limit: ulimit -Hn, as root.",
        )
    if soft not in (-1, resource.RLIM_INFINITY) and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _runs(process: psutil.Process) -> bool:
    """Say whether a process that is not ours to wait for still runs; a zombie does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
