"""paho's client, made such that it keeps no more of a packet than it may, and nothing from one connection to the next."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.tls import client_context

if TYPE_CHECKING:
    from device_agent.telemetry.link import BrokerSettings, Will

QOS: Final = 1
_PACKET_OVERHEAD_BYTES: Final = 1 << 17
"""Room for the longest topic beside the largest frame, so that what is kept of a longer one is above every bound; and for all other packets."""
_GONE_BY_BYTES: Final = 1 << 16


class BoundedClient(Client):
    """A paho client that keeps no more of a packet than it may.

    MQTT allows 256 MiB, and only MQTT 5 has a way to tell the broker of a smaller bound. To end the connection would not do: who has left
    such a message, retained, would end every one.
    """

    longest_packet_bytes = _PACKET_OVERHEAD_BYTES
    tls_error: ssl.SSLError | None = None
    """Why TLS ended, e.g. the broker's refusal of our certificate, which comes after the handshake; paho would say only that it ended."""

    def _sock_recv(self, bufsize: int) -> bytes:
        """Read as paho does, which asks for the whole rest of a packet and adds what comes to it; beyond the bound, one byte of each piece."""
        room = self.longest_packet_bytes - len(self._in_packet["packet"])
        if bufsize <= room:
            return self._received(bufsize)
        if room > 0:
            return self._received(room)
        gone_by = self._received(min(bufsize, _GONE_BY_BYTES))
        self._in_packet["to_process"] -= len(gone_by[1:])
        return gone_by[:1]

    def _received(self, most: int) -> bytes:
        try:
            received: bytes = super()._sock_recv(most)
        except ssl.SSLError as error:
            self.tls_error = error
            raise
        return received

    def _sock_send(self, buf: bytes | bytearray) -> int:
        """Write as paho does. A broker that has refused our certificate may be gone before CONNECT is written: its reason waits to be read."""
        try:
            sent: int = super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError:
            with contextlib.suppress(OSError):
                self._sock_recv(1)
            raise
        return sent


def bounded_client(settings: BrokerSettings, will: Will) -> BoundedClient:
    """Return a client for one connection.

    Raises:
        ConfigError: A TLS file cannot be used.
    """
    is_5 = settings.version == "5"
    client = BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        clean_session=None if is_5 else True,
        protocol=MQTTv5 if is_5 else MQTTv311,
        reconnect_on_failure=False,
    )
    client.longest_packet_bytes = settings.max_incoming_bytes + _PACKET_OVERHEAD_BYTES
    client.connect_timeout = settings.connect_timeout_seconds
    client.max_inflight_messages_set(settings.max_inflight_messages)
    client.max_queued_messages_set(settings.max_inflight_messages * 2)
    will_properties = None
    if is_5:
        will_properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # as above
        will_properties.WillDelayInterval = settings.will_delay_seconds
    client.will_set(will.topic, will.payload, QOS, retain=True, properties=will_properties)
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.password.text if settings.password else None)
    if settings.tls is not None:
        client.tls_set_context(client_context(settings.tls))
    return client
