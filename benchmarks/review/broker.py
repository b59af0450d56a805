"""A mosquitto of one's own that can be killed, and started again with what it had saved."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 30.0


class Broker:
    """Mosquitto on a free port of loopback, as docs/ingest.md advises to set it up.

    Args:
        folder: For its configuration and what it saves.
        autosave_seconds: How often it saves: sessions, subscriptions, and what waits for them.
        queue: Messages that may wait for each client.
    """

    def __init__(self, folder: Path, *, autosave_seconds: int = 30, queue: int = 1_000_000) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    "allow_anonymous true",
                    "persistence true",
                    f"persistence_location {folder}/",
                    f"autosave_interval {autosave_seconds}",
                    f"max_queued_messages {queue}",
                    "user root",
                    "set_tcp_nodelay true",
                    "",
                ]
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """Id of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.3):
                return
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self._end(kill=True)

    def stop(self) -> None:
        """End it; it saves what it has."""
        self._end(kill=False)

    def _end(self, *, kill: bool) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(_START_SECONDS)
            self._process = None
