"""`free_port`: a TCP port for a program that is started here and told where to listen."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from random import SystemRandom
from typing import Final

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Source: ip(7), ip_local_port_range."""
_FIRST_PORT: Final = 10_000
_TRIES: Final = 50


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens at, and that the system gives to nobody who asks for just any.

    A program that takes seconds to be loaded would else find it taken, by a connection or by another server.

    Raises:
        OSError: There is none.
    """
    chance = SystemRandom()  # not the seeded one, which other processes may have just so
    for port in (chance.choice(_ports()) for _ in range(_TRIES)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            return _bound(probe, port)
    with socket.socket() as probe:
        return _bound(probe, 0)


def _bound(probe: socket.socket, port: int) -> int:
    probe.bind(("127.0.0.1", port))
    found: int = probe.getsockname()[1]
    return found


def _ports() -> range:
    """Return the ports below those that the system chooses from; only 0, which leaves the choice to it, where there are none."""
    try:
        first = int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    return range(_FIRST_PORT, first) or range(1)
