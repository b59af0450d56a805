"""What the guest of `try_deb` talks to on this machine's loopback: a broker, and a server of files."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from debian_guest import WAIT_SECONDS, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def broker(port: int, folder: Path) -> Iterator[None]:
    """A mosquitto on this machine's loopback."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine's loopback; yield its address."""
    handler = functools.partial(SilentHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def heard(port: int, topic: str, *, device: str, least: int) -> None:
    """Wait for so many messages of a device at the broker."""
    run(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", f"ew/v1/device/{device}///{topic}",
         "-C", str(least), "-W", f"{WAIT_SECONDS:.0f}"],
    )  # fmt: skip


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
