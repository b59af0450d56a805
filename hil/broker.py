"""`Broker`: a real MQTT broker on this machine's loopback, as a process: Debian's mosquitto, or the embedded one where that is absent."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from hil.errors import RigError
from host_tools.free_port import free_port
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0

Program = Literal["mosquitto", "iotcore"]


class Broker:
    """A broker that can be stopped, killed and started again on its port.

    Args:
        folder: For its configuration, what it keeps, and its log.

    Raises:
        RigError: There is no broker on this machine.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.program: Program = "mosquitto" if _mosquitto() else "iotcore"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        if self.program == "iotcore" and find_spec("iotcore") is None:
            raise RigError(
                "no MQTT broker: neither mosquitto nor the package iotcore is installed.",
                hint="apt-get install mosquitto, or pip install iotcore.",
            )

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RigError: It ended, or does not listen in time; then it is gone.
        """
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us("KILL"), *self._command()],
                stdout=log,
                stderr=log,
                start_new_session=True,  # else Ctrl-C would end it before the agents that report to it are put away
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RigError(f"{self.program} does not listen: {self._folder / 'broker.log'} says why.")
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither was ended nor ended by itself."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it in order. Calling twice is harmless."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """End it without a chance to save anything."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def _wait(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_SECONDS)
            self._process = None

    def _command(self) -> list[str]:
        if self.program == "iotcore":
            return [sys.executable, "-m", "hil.embedded_broker", str(self.port)]
        config = self._folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 100000"]
        lines += ["persistence true", f"persistence_location {self._folder}/"]
        if os.getuid() == 0:  # else it would give up root, and could not write here
            lines.append("user root")
        config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return [_mosquitto() or "mosquitto", "-c", str(config)]


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3):
        return True
    return False
