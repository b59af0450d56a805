"""`Ingest`: ``edgewright ingest`` as a service has it, started again whenever it ends, whose processes can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psutil

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[2]

Status: TypeAlias = dict[str, float]
"""The latest line of ``--json``; empty until the process that runs now has said something."""


class Ingest:
    """``edgewright ingest`` as a process that is started again whenever it ends, as a service is."""

    def __init__(self, port: int, store: Path, *, workers: int) -> None:
        self._command = [
            *(sys.executable, "-m", "host_tools", "ingest", "--broker", f"mqtt://127.0.0.1:{port}"),
            *("--store", str(store), "--workers", str(workers), "--json"),
        ]
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self.status: Status = {}
        self.log: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, claim: Callable[[Status], bool], *, what: str, seconds: float = 180.0) -> None:
        """Wait until the latest status says so."""
        end = time.monotonic() + seconds
        while not (self.status and claim(self.status)):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}; {self.status}; {self.log[-20:]}")
            time.sleep(0.05)

    def kill(self, role: str, chance: random.Random) -> bool:
        """Kill a process of a role; return whether there was one."""
        assert self._process is not None
        try:
            main = psutil.Process(self._process.pid)
            victims = (
                [main]
                if role == "supervisor"
                else [child for child in main.children() if role in child.cmdline()]
            )
            if victims:
                chance.choice(victims).kill()
        except psutil.Error:
            return False
        return bool(victims)

    def stop(self) -> None:
        """End it as a service is ended."""
        self._stopping = True
        if self._process is not None:
            self._process.terminate()
        self._thread.join(120.0)

    def _run(self) -> None:
        while not self._stopping:
            with subprocess.Popen(
                self._command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                self._process = process
                if self._stopping:  # `stop` found the one before it
                    process.terminate()
                complaints = threading.Thread(target=self._log, args=(process,), daemon=True)
                complaints.start()
                assert process.stdout is not None
                for line in process.stdout:
                    document = json.loads(line)
                    if "error" not in document:
                        self.status = document
                complaints.join()
            self.status = {}  # what a killed one said is of the past
            time.sleep(0.2)

    def _log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.log += [line.rstrip() for line in process.stderr]
