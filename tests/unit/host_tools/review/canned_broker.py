"""A server on loopback that gives everyone who connects the same bytes: enough MQTT to greet, to refuse and to send one message."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTED = b"\x20\x02\x00\x00"
"""CONNACK with return code 0. Source: MQTT 3.1.1, 3.2.2.3."""
WELCOME = CONNECTED + b"\x90\x03\x00\x01\x01"
"""And a SUBACK of the first subscription, which gets QoS 1. Source: MQTT 3.1.1, 3.9.3."""
NO_SUBSCRIPTION = CONNECTED + b"\x90\x03\x00\x01\x80"
"""And a SUBACK that refuses it."""
NOT_AUTHORIZED = b"\x20\x02\x00\x05"
"""CONNACK with return code 5. Source: MQTT 3.1.1, 3.2.2.3."""


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Listen on a port and give everyone who connects the same answer to the first packet."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(60)
            for connection in held:
                connection.close()


def message(topic: str, payload: bytes) -> bytes:
    """Return a PUBLISH of QoS 0, shorter than 128 bytes. Source: MQTT 3.1.1, 3.3."""
    name = topic.encode()
    rest = len(name).to_bytes(2, "big") + name + payload
    return bytes((0x30, len(rest))) + rest
