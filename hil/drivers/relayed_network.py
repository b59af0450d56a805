"""`RelayedNetwork`: ways from the board to this machine, each through a `Link`, so that faults need no root on either side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable


def _same(port: int, _wanted: int) -> int:
    return port


class RelayedNetwork:
    """See `Network`.

    Args:
        expose: Makes a port of this machine one of the board's loopback, the wanted one or (0) any, and returns which; by default both are
            one machine, or one sees the other's ports.
        host: See `Network.host`.
    """

    def __init__(self, expose: Callable[[int, int], int] = _same, *, host: str = "127.0.0.1") -> None:
        self.host = host
        self._expose = expose
        self._links: dict[int, Link] = {}
        self._exposed: dict[int, int] = {}

    def reach(self, port: int) -> int:
        """See `Network.reach`."""
        if port not in self._exposed:
            link = Link(port)
            self._links[port] = link
            self._exposed[port] = self._expose(link.port, 0)
        return self._exposed[port]

    def links(self) -> tuple[Link, ...]:
        """See `Network.links`."""
        return tuple(self._links.values())

    def expose_anew(self) -> None:
        """Make every way again after the board was away.

        Raises:
            RigError: A way cannot be made at the port that the agent's configuration knows.
        """
        for port, link in self._links.items():
            self._expose(link.port, self._exposed[port])

    def close(self) -> None:
        """End every way."""
        for link in self._links.values():
            link.close()
