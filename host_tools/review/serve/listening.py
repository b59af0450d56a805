"""What every server of ours around uvicorn needs: one that leaves signals alone, a socket to listen at."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def listen(host: str, port: int, *, other: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Address to listen at.
        port: 0 for any that is free.
        other: What else may have the port, as a hint asks for it: ``page open``.

    Raises:
        InputError: The address cannot be listened at.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}.",
            hint=f"Is another {other}? Choose another port.",
        ) from error
    return listening
