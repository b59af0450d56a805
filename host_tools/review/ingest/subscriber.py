"""`Subscriber`: an MQTT 5 subscription whose messages are acknowledged when the caller says so, and not before.

It is paho's client with another way to read: paho asks the socket for every byte of a packet's head and makes three
objects of every message, which costs more than decoding it. Here one read takes what has come, PUBLISH packets are cut
out of it, and everything else goes to paho as before; acknowledgements leave in one write.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from device_agent.contract.errors import TransferError
from host_tools.review.broker_tls import WANTS_CERTIFICATE, explain, use_tls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

    from host_tools.review.broker_address import BrokerAddress, TlsFiles

LONGEST_PACKET_BYTES = 8 << 20
"""The broker is told so; it does not deliver what is longer."""
_SESSION_SECONDS = 7 * 86400
_KEEPALIVE_SECONDS = 30
_CONNECT_SECONDS = 10.0
_READ_BYTES = 1 << 18
_CONNACK = 0x20
_PUBLISH = 0x30
_PUBACK = b"\x40\x02"
_TAKEN_OVER = 0x8E
_MALFORMED = "a malformed packet came"
_CERTIFICATE = "CERTIFICATE"
"""In what TLS says when one side does not trust the other's."""
_REFUSALS = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x95)
"""Reasons that another attempt does not change: protocol, client id, password, authority, banned, method, packet size."""


class Publication(NamedTuple):
    """One message as it came; ``number`` is what acknowledges it, None when nothing has to; ``sent_again``: maybe."""

    topic: bytes
    payload: bytes
    number: bytes | None
    retained: bool
    sent_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberSettings:
    """What a subscription is.

    Attributes:
        address: The broker's.
        tls: Certificates.
        client_id: The session's name; the broker keeps what comes for it while it is away.
        filters: Topic filters; QoS 1.
        other_filters: What the session must not be subscribed to any more.
        receive_maximum: So many messages may be unacknowledged.
    """

    address: BrokerAddress
    tls: TlsFiles
    client_id: str
    filters: tuple[str, ...]
    other_filters: tuple[str, ...]
    receive_maximum: int


class BrokerRefusedError(TransferError):
    """The broker answered, and its answer will stay the same: user, rights, or another client of this id."""

    code = "broker_refused"


class SessionTakenError(BrokerRefusedError):
    """Another client has connected with this client id; two of them would take the session from each other for ever."""

    code = "session_taken"


class _Client(Client):
    """paho's client, fed with whole packets from a buffer."""

    _fed = b""

    def read(self) -> bytes:
        """Return what has come, empty when the connection is over.

        Raises:
            BlockingIOError: Nothing has.
            OSError: The connection failed.
        """
        data: bytes = super()._sock_recv(_READ_BYTES)
        self._last_bytes_received = time.monotonic()
        return data

    def feed(self, packet: bytes) -> MQTTErrorCode:
        """Let paho handle one whole packet; one that it cannot read is a breach of the protocol."""
        self._fed = packet
        try:
            return self._packet_read()
        except Exception:  # noqa: BLE001  paho before 2.2 raises struct.error, IndexError, … on malformed packets
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def write(self, packets: bytes) -> None:
        """Send packets that are bytes already."""
        self._packet_queue(int.from_bytes(packets[:1], "big"), packets, 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        data, self._fed = self._fed[:bufsize], self._fed[bufsize:]
        if not data:
            raise BlockingIOError
        return data


class Subscriber:
    """One connection after the other to one session. Not for several threads; `descriptor` tells when to call `receive`.

    Attributes:
        connections: How many were made; acknowledgements are for the one that brought the message.
        subscribed: Whether the broker has accepted the subscription on this connection.
        session_present: Whether the broker remembered the session when it accepted the connection.
    """

    def __init__(self, settings: SubscriberSettings) -> None:
        self._settings = settings
        self._client: _Client | None = None
        self._rest = b""
        self._reason = ""
        self._refused = self._taken = False
        self.connections = 0
        self.accepted = False
        self.subscribed = False
        self.session_present = False

    @property
    def descriptor(self) -> int | None:
        """What to wait for with `select`; None without a connection."""
        connection = None if self._client is None else self._client.socket()
        return None if connection is None else connection.fileno()

    @property
    def has_more(self) -> bool:
        """Whether something has come that the socket does not show: TLS has decrypted it already."""
        connection = None if self._client is None else self._client.socket()
        return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for room in the socket."""
        return self._client is not None and self._client.want_write()

    def connect(self) -> None:
        """Begin a connection; `receive` takes the broker's answer.

        Raises:
            InputError: A TLS file cannot be used.
            TransferError: The broker cannot be reached.
        """
        settings = self._settings
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_SECONDS
        if settings.address.username:
            client.username_pw_set(settings.address.username, settings.address.password)
        use_tls(client, settings.address, settings.tls)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = _SESSION_SECONDS
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = LONGEST_PACKET_BYTES
        self._rest, self._reason = b"", ""
        self._refused = self._taken = False
        self.accepted = self.subscribed = self.session_present = False
        self.connections += 1
        try:
            client.connect(
                settings.address.host,
                settings.address.port,
                keepalive=_KEEPALIVE_SECONDS,
                clean_start=False,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            problem = explain(settings.address, error)
            if _CERTIFICATE in str(error):
                raise BrokerRefusedError(str(problem.args[0]), hint=problem.hint) from error
            raise problem from error
        self._client = client

    def receive(self) -> list[Publication]:
        """Take what has come. Empty when nothing has, or nothing but answers of the broker.

        Raises:
            BrokerRefusedError: The broker refuses for good.
            TransferError: The connection is over.
        """
        client = self._connected()
        try:
            data = client.read()
        except BlockingIOError:
            return []
        except OSError as error:
            raise self._over(str(error)) from error
        if not data:
            raise self._over("the broker closed it")
        found: list[Publication] = []
        self._rest = self._cut(self._rest + data if self._rest else data, found)
        return found

    def acknowledge(self, numbers: Sequence[bytes]) -> None:
        """Acknowledge messages of this connection, in the order in which they came."""
        if numbers and self._client is not None:
            self._client.write(_PUBACK + _PUBACK.join(numbers))

    def take_retained(self, filters: Sequence[str]) -> None:
        """Ask for what is retained: a shared subscription brings only what is sent from now on. `let_go` must follow."""
        self._subscribe(filters)

    def let_go(self, filters: Sequence[str]) -> None:
        """Unsubscribe."""
        self._connected().unsubscribe(list(filters))

    def tick(self) -> None:
        """Write what waits and keep the connection alive; to be called every second at least.

        Raises:
            TransferError: The connection is over.
        """
        client = self._connected()
        if client.want_write() and client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._over("")
        if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._over(f"the broker was silent for {_KEEPALIVE_SECONDS} s")

    def close(self, *, forget: bool = False) -> None:
        """End the connection; the broker keeps the session unless it is to ``forget`` it."""
        client, self._client = self._client, None
        self.accepted = self.subscribed = False
        if client is None:
            return
        properties = None
        if forget:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # as above
            properties.SessionExpiryInterval = 0
        client.disconnect(properties=properties)
        _flush(client)
        connection = client.socket()
        if connection is not None:
            connection.close()

    def _cut(self, data: bytes, found: list[Publication]) -> bytes:
        """Cut packets out of ``data``; return the beginning of the one that is not whole yet."""
        place, size = 0, len(data)
        while size - place >= 2:
            head = data[place]
            length, body = data[place + 1], place + 2
            if length > 0x7F:
                length, body = _length(data, place + 1)
                if body == 0:
                    break
                if length > LONGEST_PACKET_BYTES:
                    raise self._over(f"a packet of {length} bytes came, more than it was told to send")
            end = body + length
            if end > size:
                break
            if not self.accepted and head & 0xF0 != _CONNACK:
                raise self._over("what answers is no MQTT broker")
            if head & 0xF0 == _PUBLISH:
                found.append(self._publication(data, head, body, end))
            else:
                client = self._connected()
                code = client.feed(data[place:end])
                if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
                    raise self._over(_MALFORMED)
                if code != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None or self._refused:
                    raise self._over("")  # a broker that refuses a subscription alone keeps the connection
            place = end
        return data[place:]

    def _publication(self, data: bytes, head: int, body: int, end: int) -> Publication:
        topic_end = body + 2 + (data[body] << 8 | data[body + 1]) if body + 2 <= end else end + 1
        place = topic_end
        number = None
        if head & 0x06:
            place += 2
            number = data[topic_end:place]
        if place >= end:
            raise self._over(_MALFORMED)
        properties = data[place]
        if properties > 0x7F:
            properties, place = _length(data[:end], place)
        else:
            place += 1
        place += properties
        if place > end or place == 0 or head & 0x04:
            raise self._over(_MALFORMED)
        return Publication(
            data[body + 2 : topic_end], data[place:end], number, bool(head & 0x01), bool(head & 0x08)
        )

    def _connected(self) -> _Client:
        if self._client is None:
            raise TransferError(f"{self._settings.address}: not connected.")
        return self._client

    def _over(self, reason: str) -> TransferError:
        """End the connection; return why it is over, as well as that is known."""
        client, self._client = self._client, None
        self.accepted = self.subscribed = False
        if client is not None and (connection := client.socket()) is not None:
            connection.close()
        text = self._reason or reason or "connection lost"
        where = self._settings.address
        if self._taken:
            return SessionTakenError(
                f"{where}: another client took the session {self._settings.client_id!r}.",
                hint="Is an ingest of the same --name running?",
            )
        if _CERTIFICATE in text:
            return BrokerRefusedError(f"{where}: {text}.", hint=WANTS_CERTIFICATE)
        if self._refused:
            return BrokerRefusedError(
                f"{where}: {text}.", hint="Check user name, password, and what the user may do."
            )
        return TransferError(f"{where}: {text}.", hint="Trying again.")

    def _subscribe(self, filters: Sequence[str]) -> None:
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._connected().subscribe([(one, options) for one in filters])

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._reason = f"the broker refuses the connection: {reason}"
            self._refused = reason.value in _REFUSALS
            return
        self.accepted, self.session_present = True, flags.session_present
        # Every time: a broker that lost its session says so only in a flag, and one that did not loses nothing by it.
        if self._settings.filters:
            self._subscribe(self._settings.filters)
        if self._settings.other_filters and flags.session_present:
            self.let_go(self._settings.other_filters)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        _number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            refused = next(str(reason) for reason in reasons if reason.is_failure)
            self._reason = f"the broker refuses the subscription: {refused}"
            self._refused = True
        else:
            self.subscribed = True

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reason = f"the broker ended the connection: {reason}"
            self._taken = reason.value == _TAKEN_OVER


def _length(data: bytes, place: int) -> tuple[int, int]:
    """Read a variable length; return it and where it ends, 0 when it is not whole."""
    value = 0
    for index in range(4):
        if place + index >= len(data):
            return 0, 0
        byte = data[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    return LONGEST_PACKET_BYTES + 1, place + 4


def _flush(client: Client) -> None:
    """Write what waits, for a moment."""
    end = time.monotonic() + 1.0
    while client.want_write() and time.monotonic() < end:
        if client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return
