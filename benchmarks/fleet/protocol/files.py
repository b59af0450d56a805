"""The repository over HTTP, as a program of its own, so that it can be measured: ``python -m benchmarks.fleet.protocol.files FOLDER PORT``."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from host_tools.fleet.sample.processes import LOOPBACK


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    """Devices that come at one moment wait; with the standard library's 5 their packets are dropped, and they wait a second or three."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: devices ask all the time."""


def main() -> int:
    """Serve until ended."""
    folder, port = sys.argv[1:]
    _Server((LOOPBACK, int(port)), partial(_Quiet, directory=folder)).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
