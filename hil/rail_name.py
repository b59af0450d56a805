"""`require_rail_name`: what a power rail may be called, on a bench as in a scenario."""

from __future__ import annotations

import re

from host_tools.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")
_UNCONNECTED = "NC"
"""A label with this in it is, by a Jetson's device tree, a channel that nothing is connected to; the agent leaves it out."""


def is_rail_name(name: str) -> bool:
    """Return whether a rail may be called so: up to 32 ASCII letters, digits and ``_.+-``, without ``NC``."""
    return _NAME.fullmatch(name) is not None and _UNCONNECTED not in name


def require_rail_name(name: str, *, where: str, error: type[InputError] = InputError) -> None:
    """Refuse what is no name of a rail.

    Args:
        name: As its driver labels it.
        where: For the message.
        error: What to raise.

    Raises:
        InputError: As ``error``: it is none.
    """
    if not is_rail_name(name):
        raise error(
            f"{where}: expected a rail's label of 1 to 32 letters, digits and _.+-, without {_UNCONNECTED!r}, got {name[:80]!r}.",
            hint=f"{_UNCONNECTED} stands for a channel that nothing is connected to.",
        )
