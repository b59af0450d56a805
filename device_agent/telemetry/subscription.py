"""`Subscription`: topics that the agent listens to over its one connection, and what takes their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message that came.

    Attributes:
        topic: Where it was published.
        payload: Its body.
        respond: Sends an answer to where the sender wants one, with its correlation data; None when it wants none, and
            always with MQTT 3.1.1. An answer is sent once and not kept: over a connection that is gone it is lost.
    """

    topic: str
    payload: bytes
    respond: Callable[[bytes], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A topic filter and what takes its messages.

    Attributes:
        topic: Filter.
        what: What comes there, for messages, e.g. ``frames``.
        take: Called on the connection's thread; returns at once.
        required: Without it the connection is of no use, and is ended with the broker's reason; otherwise that is logged.
    """

    topic: str
    what: str
    take: Callable[[Incoming], None]
    required: bool
