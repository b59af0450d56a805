"""What a connection to the broker is told, and what it reports: values alone, without a library of MQTT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.tls import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """How to reach the broker. ``password`` never shows in ``repr``; see `AgentConfig`'s mqtt section for the rest.

    Of a packet larger than ``max_incoming_bytes`` and some room for its head the rest goes by and is not kept. Answers go to no
    topic that begins with ``own_topics``, but for the device's outputs.
    """

    host: str
    port: int
    version: str
    client_id: str
    username: str | None
    password: Secret | None
    tls: TlsFiles | None
    keepalive_seconds: int
    connect_timeout_seconds: float
    will_delay_seconds: int
    max_inflight_messages: int
    max_incoming_bytes: int = 0
    own_topics: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that must not be seen."""

    text: str

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a goodbye."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted connection ``number``."""

    number: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Connection ``number`` is over, or was never made. The last thing it reports.

    With ``refused`` one of the two does not accept the other, which does not pass by itself as an outage does.
    """

    number: int
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker has acknowledged message ``message_id`` on connection ``number``.

    With ``refused`` it threw the message away, and that is why; with ``may_retry`` it may take the message later. ``unheard``:
    it took the message, and nobody is subscribed (MQTT 5).
    """

    number: int
    message_id: int
    refused: str = ""
    may_retry: bool = False
    unheard: bool = False


BrokerReport = Connected | Disconnected | Delivered
