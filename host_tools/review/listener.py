"""An MQTT subscription as an iterator: every message of every device below one root."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.contract.errors import TransferError
from host_tools.review.broker_address import TlsFiles
from host_tools.review.broker_tls import WANTS_CERTIFICATE, explain, use_tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from host_tools.review.broker_address import BrokerAddress

_CONNECT_TIMEOUT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 120
_MAILBOX_BYTES = 256 << 20
_DELIVERY_OVERHEAD_BYTES = 400
"""What a delivery costs beside its payload: objects and topic."""
_POLL_SECONDS = 0.2
_BURST_POLL_SECONDS = 0.02
_BURST_MESSAGES = 40
"""More than this within a `_BURST_POLL_SECONDS` (2,000 a second) is a burst."""
_LONGEST_BURST_SECONDS = 5.0
_FEW_WAITING = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as it came.

    Attributes:
        topic: The whole topic.
        payload: The bytes.
        received: Unix time of arrival in seconds, by this machine's clock.
        retained: The broker had kept it: it may be of any age, and does not show that its sender lives.
    """

    topic: str
    payload: bytes
    received: float
    retained: bool = False


class _Mailbox:
    """Deliveries on their way from paho's thread to the reader, bounded by the memory they take."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0

    def put(self, delivery: Delivery) -> bool:
        """Keep a delivery; return whether there was room."""
        size = len(delivery.payload) + _DELIVERY_OVERHEAD_BYTES
        with self._lock:
            if self._bytes + size > _MAILBOX_BYTES:
                return False
            self._bytes += size
        self._waiting.put(delivery)
        return True

    def take(self, timeout: float) -> Delivery | None:
        """Return the oldest, waiting for one at most so long."""
        try:
            delivery = self._waiting.get(timeout=timeout) if timeout > 0 else self._waiting.get_nowait()
        except queue.Empty:
            return None
        with self._lock:
            self._bytes -= len(delivery.payload) + _DELIVERY_OVERHEAD_BYTES
        return delivery

    def __len__(self) -> int:
        return self._waiting.qsize()


class Listener:
    """A running subscription; made by `listen`."""

    def __init__(self, client: mqtt.Client) -> None:
        self._client = client
        self._mailbox = _Mailbox()
        self.dropped = 0
        """Deliveries thrown away because the reader was too slow for too long."""
        client.on_message = self._on_message

    def deliveries(self, *, seconds: float | None = None) -> Iterator[Delivery | None]:
        """Yield deliveries as they come, and None whenever a moment passed without one.

        Ends after ``seconds``, and with all that came by then.
        """
        end = None if seconds is None else time.monotonic() + seconds
        look = 0.0
        while end is None or time.monotonic() < end:
            yield self._mailbox.take(_POLL_SECONDS)
            if len(self._mailbox) > _FEW_WAITING and time.monotonic() > look:
                self._let_a_burst_pass()
                look = time.monotonic() + _POLL_SECONDS
        yield from self.waiting()

    def waiting(self) -> Iterator[Delivery]:
        """Yield what has come and was not taken yet."""
        for _ in range(len(self._mailbox)):
            delivery = self._mailbox.take(0.0)
            if delivery is not None:
                yield delivery

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached right now; paho reconnects by itself."""
        return self._client.is_connected()

    def _let_a_burst_pass(self) -> None:
        """Leave the processor to paho's thread while messages pour in.

        A reader that decodes holds the interpreter, paho falls behind, and the broker throws away what it cannot
        deliver (mosquitto: beyond 1,000 messages) without a word.
        """
        end = time.monotonic() + _LONGEST_BURST_SECONDS
        before = len(self._mailbox)
        while time.monotonic() < end:
            time.sleep(_BURST_POLL_SECONDS)
            now = len(self._mailbox)
            if now - before < _BURST_MESSAGES:
                return
            before = now

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # forbidden by MQTT; raised on from here it would end paho's thread
            self.dropped += 1
            return
        delivery = Delivery(
            topic=topic, payload=bytes(message.payload), received=time.time(), retained=message.retain
        )
        if not self._mailbox.put(delivery):
            self.dropped += 1


@contextmanager
def listen(
    address: BrokerAddress,
    *,
    root: str,
    tls: TlsFiles | None = None,
    longest_pause_seconds: int = _LONGEST_PAUSE_SECONDS,
) -> Iterator[Listener]:
    """Subscribe to everything below ``root`` until the block ends.

    Args:
        address: The broker's.
        root: Topic root.
        tls: Certificates for ``mqtts://``; None: the authorities that the system trusts.
        longest_pause_seconds: Between two attempts to reach a broker that went away; at least 1, with which the pauses begin.

    Raises:
        InputError: A certificate's file cannot be used.
        TransferError: The broker cannot be reached, or refuses.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if address.username:
        client.username_pw_set(address.username, address.password)
    use_tls(client, address, tls or TlsFiles())
    client.reconnect_delay_set(min_delay=1, max_delay=longest_pause_seconds)
    listener = Listener(client)
    opening = _Opening(client, address, root)
    opening.connect()
    client.loop_start()
    try:
        opening.wait()
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


class _Opening:
    """Connects and subscribes; subscribes again after each reconnect, because the session is clean."""

    def __init__(self, client: mqtt.Client, address: BrokerAddress, root: str) -> None:
        self._client = client
        self._address = address
        self._topic = f"{root}/#"
        self._refusal = ""
        self._subscribed = threading.Event()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe

    def connect(self) -> None:
        address = self._address
        try:
            self._client.connect(address.host, address.port, keepalive=30)
        except (OSError, ValueError) as error:
            raise explain(address, error) from error

    def wait(self) -> None:
        """Wait until the broker has accepted both.

        Raises:
            TransferError: It refuses, or does not answer.
        """
        end = time.monotonic() + _CONNECT_TIMEOUT_SECONDS
        while not self._subscribed.wait(0.02):
            if self._refusal:
                raise TransferError(
                    f"{self._address}: refused: {self._refusal}.", hint="Check user name and password."
                )
            if time.monotonic() > end:
                raise TransferError(
                    f"{self._address}: no answer for {_CONNECT_TIMEOUT_SECONDS:.0f} s.",
                    hint=WANTS_CERTIFICATE if self._address.tls else "Is this an MQTT broker?",
                )

    def _on_connect(
        self, client: mqtt.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            # QoS 0: within one connection nothing is lost by it, and beyond a connection a clean session keeps nothing.
            # With QoS 1 the broker sends only as much as it has acknowledgements for (mosquitto: 20 messages in flight),
            # and throws away what queues up behind: at 60,000 messages a second six times as many are lost.
            client.subscribe(self._topic, qos=0)

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _message_id: int,
        reasons: Sequence[ReasonCode],
        _properties: object,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = f"it does not let this user subscribe to {self._topic}"
        else:
            self._subscribed.set()
