"""Many MQTT sessions in one loop: `Loop` waits for all sockets at once, where an agent has a thread for its one.

Each session is set up as the agent's is with MQTT 5: client id, keepalive, last will with its delay, clean session, QoS 1. As there, paho holds
no message longer than one connection.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.contract.topics import DEFAULT_ROOT
from device_agent.telemetry.link import Connected, Delivered, Disconnected

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from device_agent.telemetry.link import BrokerReport, BrokerSettings, Will
    from device_agent.telemetry.store import SpooledMessage

_QOS: Final = 1
_MISC_SECONDS: Final = 1.0
_CATEGORY: Final = 5
"""Of the segments below the root."""


class Loop:
    """Waits for sockets, and for what other threads put.

    Attributes:
        sent: Messages by category of their topic: ``m``, ``e``, ``status``, ``twin``, ….
        acknowledged: Of these, those that the broker has taken.
    """

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.acknowledged = 0
        self._selector = selectors.DefaultSelector()
        self._put: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)  # noqa: FBT003  socket's own signature
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._connections: set[SharedConnection] = set()
        self._misc_due_seconds = 0.0

    def put(self, call: Callable[[], None]) -> None:
        """Let something be called on the loop's thread; from any thread."""
        self._put.put(call)
        self._wake_write.send(b"\0")

    def connect(
        self,
        number: int,
        settings: BrokerSettings,
        will: Will,
        *,
        report: Callable[[BrokerReport], None],
        subscriptions: tuple[str, ...],
    ) -> SharedConnection:
        """Begin a session; what happens to it is reported on this thread, and not before this returns."""
        connection = SharedConnection(
            self, number, settings, will, report=report, subscriptions=subscriptions
        )
        self._connections.add(connection)
        return connection

    def wait(self, due_seconds: float) -> None:
        """Wait until something happens, or it is time; take in what happened."""
        timeout = min(max(due_seconds - monotonic(), 0.0), _MISC_SECONDS)
        for key, events in self._selector.select(timeout):
            if key.data is None:
                self._wake_read.recv(1 << 16)
            else:
                key.data.serve(events)
        try:
            while True:
                self._put.get_nowait()()
        except Empty:
            pass
        if monotonic() >= self._misc_due_seconds:
            self._misc_due_seconds = monotonic() + _MISC_SECONDS
            for connection in tuple(self._connections):
                connection.keep_alive()

    def watch(self, connection: SharedConnection, events: int, *, before: int) -> None:
        """Wait for other events of a session's socket from now on; 0: none any more."""
        if not before:
            self._selector.register(connection.socket, events, connection)
        elif events:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.unregister(connection.socket)
            self._connections.discard(connection)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()


class SharedConnection:
    """One session, as `device_agent.telemetry.courier.Connection` wants it.

    Args:
        loop: Waits for it.
        number: Tells this connection's reports from an older one's.
        settings: How to reach the broker.
        will: The last will.
        report: Told of what happens.
        subscriptions: Filters of what it listens to; nothing is done with what comes.
    """

    def __init__(
        self,
        loop: Loop,
        number: int,
        settings: BrokerSettings,
        will: Will,
        *,
        report: Callable[[BrokerReport], None],
        subscriptions: tuple[str, ...],
    ) -> None:
        self._loop = loop
        self._subscriptions = subscriptions
        self._number = number
        self._report = report
        self._in_flight: dict[int, int] = {}
        self._events = 0
        self._reason = ""
        self._is_over = False
        self._client = _client(settings, will)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_socket_close = self._on_socket_close
        self.socket: socket.socket
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = settings.will_delay_seconds
        try:
            self._client.connect(
                settings.host,
                settings.port,
                settings.keepalive_seconds,
                clean_start=settings.will_delay_seconds == 0,
                properties=properties,
            )
        except OSError as error:
            self._is_over = True
            reason = f"{settings.host}:{settings.port}: {error.strerror or error}"
            loop.put(lambda: report(Disconnected(number, reason)))
            return
        found: Any = self._client.socket()
        self.socket = found
        self._watch()

    def send(self, message: SpooledMessage) -> None:
        """Send with QoS 1; `Delivered` follows."""
        info = self._client.publish(message.topic, message.payload, _QOS, retain=message.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.abort(f"a message could not be sent ({MQTTErrorCode(info.rc).name})")
            return
        self._in_flight[info.mid] = message.id
        self._loop.sent[message.topic.removeprefix(DEFAULT_ROOT).split("/")[_CATEGORY]] += 1
        self._watch()

    def close(self) -> None:
        """Say DISCONNECT, and end."""
        if not self._is_over:
            self._client.disconnect()
            self._end("closed")

    def abort(self, reason: str) -> None:
        """End without DISCONNECT."""
        self._loop.put(lambda: self._end(reason))

    def join(self, timeout_seconds: float) -> bool:
        """Return True: nothing goes on in the background."""
        del timeout_seconds
        return True

    def serve(self, events: int) -> None:
        """Read and write what can be."""
        if self._is_over:
            return
        try:
            codes = [
                self._client.loop_read() if events & selectors.EVENT_READ else None,
                self._client.loop_write() if self._client.want_write() else None,
            ]
        except OSError as error:
            self._end(f"connection lost ({error.strerror or error})")
            return
        self._look(*codes)

    def keep_alive(self) -> None:
        """Say PINGREQ when it is time."""
        if not self._is_over:
            self._look(self._client.loop_misc())

    def _look(self, *codes: MQTTErrorCode | None) -> None:
        failed = [code for code in codes if code not in (None, MQTTErrorCode.MQTT_ERR_SUCCESS)]
        if failed or self._client.socket() is None:
            self._end(self._reason or f"connection lost ({', '.join(str(code) for code in failed)})")
        else:
            self._watch()

    def _watch(self) -> None:
        if self._client.socket() is None:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        if not self._is_over and events != self._events:
            self._loop.watch(self, events, before=self._events)
            self._events = events

    def _end(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._unwatch()
        self.socket.close()
        self._report(Disconnected(self._number, reason))

    def _unwatch(self) -> None:
        if self._events:
            self._loop.watch(self, 0, before=self._events)
            self._events = 0

    def _on_socket_close(self, _client: Client, _userdata: object, _socket: object) -> None:
        # At once: the next session may get a socket of the same number, before this one's end is reported.
        self._unwatch()

    def _on_connect(
        self, _client: Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._reason = f"the broker refused the connection: {reason}"
        else:
            for subscription in self._subscriptions:
                self._client.subscribe(subscription, _QOS)
            self._report(Connected(self._number))

    def _on_publish(
        self, _client: Client, _userdata: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        message = self._in_flight.pop(mid, None)
        if message is not None:
            self._loop.acknowledged += 1
            self._report(Delivered(self._number, message, str(reason) if reason.is_failure else ""))


def _client(settings: BrokerSettings, will: Will) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        protocol=MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = settings.connect_timeout_seconds
    client.max_inflight_messages_set(settings.max_inflight_messages)
    client.max_queued_messages_set(settings.max_inflight_messages * 2)
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # as above
    properties.WillDelayInterval = settings.will_delay_seconds
    client.will_set(will.topic, will.payload, _QOS, retain=True, properties=properties)
    return client
