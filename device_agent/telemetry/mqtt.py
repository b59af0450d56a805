"""`BrokerConnection`: one connection to a broker, on a thread of its own. With `paho_client` the only file that knows paho.

It holds no message longer than one connection: what was not acknowledged when it ends is still in the spool, and is
sent again over the next one. So paho's own queue, session and reconnection are not used: its queue lives in memory
and is unbounded, its session is lost with the process, and its pauses between attempts are the same for a whole
fleet.

All of paho runs on this one thread, through its external-loop interface, and whatever it raises on a malformed
packet ends the connection with a reason.
"""

from __future__ import annotations

import contextlib
import logging
import re
import select
import socket
import ssl
import threading
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.telemetry.link import Connected, Delivered, Disconnected
from device_agent.telemetry.paho_client import QOS, bounded_client
from device_agent.telemetry.subscription import Incoming
from device_agent.tls import problem_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from device_agent.telemetry.link import BrokerReport, BrokerSettings, Will
    from device_agent.telemetry.store import SpooledMessage
    from device_agent.telemetry.subscription import Subscription

_LOG = logging.getLogger("edgewright.broker")
_POLL_SECONDS: Final = 1.0
_MAX_RESPONSES: Final = 64
_RESPONSE_TOPIC: Final = re.compile(r"[^+#\x00$][^+#\x00]{0,1023}")
"""Where answers may go at all: paho refuses wildcards with an exception, and a broker ends the connection for them."""
_SHARED: Final = re.compile(r"^\$share/[^/]+/")
_PASSING: Final = (3, 0x88, 0x89, 0x97, 0x9F)
"""Refusals of a connection that pass: unavailable, busy, quota, rate. Sources: MQTT 3.1.1, 3.2.2.3; MQTT 5.0, 3.2.2.2."""
_QUOTA_EXCEEDED: Final = 0x97
"""The one refusal that says "not now" instead of "never". Source: MQTT 5.0, table 2-6, "Reason Codes"."""
_NO_SUBSCRIBER: Final = 0x10
"""Accepted, and given to nobody. Source: as above."""


class BrokerConnection:
    """One connection. The attempt begins at once, in the background.

    Args:
        number: Tells this connection's reports from an older one's.
        settings: How to reach the broker.
        will: The last will.
        report: Called on the connection's thread with everything that happens.
        subscriptions: What it listens to.

    Raises:
        ConfigError: A TLS file cannot be used.
    """

    def __init__(
        self,
        *,
        number: int,
        settings: BrokerSettings,
        will: Will,
        report: Callable[[BrokerReport], None],
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        self._number = number
        self._subscriptions = tuple(subscriptions)
        self._asked: dict[int, Subscription] = {}
        self._settings = settings
        self._report = report
        self._outbox: SimpleQueue[SpooledMessage] = SimpleQueue()
        self._responses: SimpleQueue[tuple[str, bytes | None, bytes]] = SimpleQueue()
        self._closing = threading.Event()
        self._in_flight: dict[int, int] = {}
        self._reason = ""
        self._abort_reason = ""
        self._accepted = self._refused = False
        self._client = bounded_client(settings, will)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        for subscription in self._subscriptions:
            shared = _SHARED.sub(
                "", subscription.topic
            )  # the share's name is not part of what a message bears
            self._client.message_callback_add(shared, partial(self._on_message, subscription))
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)  # noqa: FBT003  socket's own signature
        self._thread = threading.Thread(target=self._run, name=f"broker-{number}", daemon=True)
        self._thread.start()

    def send(self, message: SpooledMessage) -> None:
        """Send with QoS 1; `Delivered` follows. The caller keeps what is in flight within the settings' bound."""
        self._outbox.put(message)
        self._wake()

    def close(self) -> None:
        """Send what waits, say DISCONNECT, so that the broker drops the will, and end; acknowledgements are not awaited."""
        self._closing.set()
        self._wake()

    def abort(self, reason: str) -> None:
        """End without DISCONNECT: the broker publishes the will, as for a connection that broke."""
        self._abort_reason = reason
        self._wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; return whether it has."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _wake(self) -> None:
        # A full pipe wakes as well as one byte more would; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    # --- on the connection's thread ---

    def _run(self) -> None:
        try:
            self._connect()
            self._serve()
        except OSError as error:
            self._reason = self._reason or self._problem(error)
        except Exception as error:  # noqa: BLE001  paho raises struct.error, IndexError, … on malformed packets
            self._reason = f"malformed packet from the broker: {type(error).__name__}: {error}"
        finally:
            self._shut()
            self._report(Disconnected(self._number, self._reason or "connection lost", refused=self._refused))

    def _connect(self) -> None:
        host, port, keepalive = self._settings.host, self._settings.port, self._settings.keepalive_seconds
        if self._settings.version != "5":
            self._failed(self._client.connect(host, port, keepalive))
            return
        delay = self._settings.will_delay_seconds
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.MaximumPacketSize = self._client.longest_packet_bytes
        # The will waits only as long as the session lives, and only a connection that takes the session up again cancels it.
        properties.SessionExpiryInterval = delay
        self._failed(
            self._client.connect(host, port, keepalive, clean_start=delay == 0, properties=properties)
        )

    def _serve(self) -> None:
        deadline = monotonic() + self._settings.connect_timeout_seconds
        while (connection := self._client.socket()) is not None:
            if not self._accepted and monotonic() > deadline:
                self._reason = f"no answer to CONNECT within {self._settings.connect_timeout_seconds:g} s"
                return
            if self._abort_reason:
                self._reason = self._abort_reason
                return
            writing = [connection] if self._client.want_write() else []
            pending = (
                connection.pending() if isinstance(connection, ssl.SSLSocket) else 0
            )  # what TLS has decrypted, select does not see
            timeout = 0.0 if pending else _POLL_SECONDS
            readable, writable, _ = select.select([connection, self._wake_read], writing, [], timeout)
            if self._wake_read in readable:
                self._wake_read.recv(4096)
            if self._failed(self._client.loop_read() if connection in readable or pending else None):
                return
            self._send_waiting()
            if self._failed(self._client.loop_write() if writable or self._client.want_write() else None):
                return
            if self._closing.is_set() and (not self._accepted or not self._client.want_write()):
                self._reason = "closed"
                self._client.disconnect()
                return
            if self._failed(self._client.loop_misc()):
                return

    def _failed(self, code: MQTTErrorCode | None) -> bool:
        if code in (None, MQTTErrorCode.MQTT_ERR_SUCCESS):
            return False
        lost = f"connection lost ({MQTTErrorCode(code).name})"
        refused = self._client.tls_error
        self._reason = self._reason or (lost if refused is None else self._problem(refused))
        return True

    def _problem(self, error: OSError) -> str:
        peer = f"{self._settings.host}:{self._settings.port}"
        self._refused = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
        return problem_text(error, peer=peer, wall_seconds=time())

    def _send_waiting(self) -> None:
        if not self._accepted:
            return
        self._send_responses()
        with contextlib.suppress(Empty):
            while True:
                message = self._outbox.get_nowait()
                info = self._client.publish(message.topic, message.payload, QOS, retain=message.retain)
                if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._abort_reason = f"a message could not be sent ({MQTTErrorCode(info.rc).name})"
                    return
                self._in_flight[info.mid] = message.id

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            connection = self._client.socket()
            if connection is not None:
                connection.close()
        self._wake_read.close()
        self._wake_write.close()

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._reason = f"the broker refused the connection: {reason}"
            self._refused = reason.value not in _PASSING
            return
        self._accepted = True
        # Sessions are clean, so the broker remembers no subscription of the connection before.
        for subscription in self._subscriptions:
            _, number = self._client.subscribe(subscription.topic, QOS)
            if number is not None:
                self._asked[number] = subscription
        self._report(Connected(self._number))

    def _on_message(
        self, subscription: Subscription, _client: Client, _userdata: object, message: MQTTMessage
    ) -> None:
        properties = message.properties  # of MQTT 5; paho sets an attribute only where the sender did
        topic = getattr(properties, "ResponseTopic", None)
        respond = None
        if topic and _RESPONSE_TOPIC.fullmatch(topic) and not self._is_spoken_for(topic):
            respond = partial(self._respond, topic, getattr(properties, "CorrelationData", None))
        subscription.take(Incoming(topic=message.topic, payload=bytes(message.payload), respond=respond))

    def _is_spoken_for(self, topic: str) -> bool:
        """Whether something else is said there: who may only send frames must not have the device speak as its health, or give it commands."""
        own = self._settings.own_topics
        return bool(own) and topic.startswith(own) and not topic.startswith(f"{own}//o/")

    def _respond(self, topic: str, correlation: bytes | None, payload: bytes) -> None:
        """Send an answer; called on any thread. When many wait already, whoever asks is faster than the link."""
        if self._responses.qsize() < _MAX_RESPONSES:
            self._responses.put((topic, correlation, payload))
            self._wake()

    def _send_responses(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                topic, correlation, payload = self._responses.get_nowait()
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
                if correlation is not None:
                    properties.CorrelationData = correlation
                # QoS 0: it must take no place of the spool's messages in flight.
                self._client.publish(topic, payload, 0, properties=properties)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        asked = self._asked.pop(number, None)
        if not refused or asked is None:
            return
        text = f"the broker refused the subscription to {asked.what}: {refused[0]}"
        if asked.required:
            self._abort_reason = text
        else:
            _LOG.warning("%s (%s)", text, asked.topic)

    def _on_publish(
        self, _client: Client, _userdata: object, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        message_id = self._in_flight.pop(mid, None)
        if message_id is None:
            return
        refused = str(reason) if reason.is_failure else ""
        self._report(
            Delivered(
                self._number,
                message_id,
                refused,
                may_retry=reason.value == _QUOTA_EXCEEDED,
                unheard=reason.value == _NO_SUBSCRIBER,
            )
        )

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
