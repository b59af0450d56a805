"""An MQTT subscription as an iterator: every message of every device below one root."""

from __future__ import annotations

import queue
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.contract.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from host_tools.review.broker_address import BrokerAddress

_CONNECT_TIMEOUT_SECONDS = 10.0
_QUEUE_MESSAGES = 10_000
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as it came.

    Attributes:
        topic: The whole topic.
        payload: The bytes.
        received: Unix time of arrival in seconds, by this machine's clock.
    """

    topic: str
    payload: bytes
    received: float


class Listener:
    """A running subscription; made by `listen`."""

    def __init__(self, client: mqtt.Client) -> None:
        self._client = client
        self._queue: queue.Queue[Delivery] = queue.Queue(maxsize=_QUEUE_MESSAGES)
        self.dropped = 0
        """Deliveries thrown away because the reader was too slow."""
        client.on_message = self._on_message

    def deliveries(self, *, seconds: float | None = None) -> Iterator[Delivery | None]:
        """Yield deliveries as they come, and None whenever a moment passed without one; end after ``seconds``."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            try:
                yield self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached right now; paho reconnects by itself."""
        return self._client.is_connected()

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            self._queue.put_nowait(
                Delivery(topic=message.topic, payload=bytes(message.payload), received=time.time())
            )
        except queue.Full:
            self.dropped += 1


@contextmanager
def listen(address: BrokerAddress, *, root: str) -> Iterator[Listener]:
    """Subscribe to everything below ``root`` until the block ends.

    Raises:
        TransferError: The broker cannot be reached or refuses.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if address.username:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        client.tls_set()
    refusals: list[str] = []

    def on_connect(
        connected: mqtt.Client,
        _userdata: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if reason.is_failure:
            refusals.append(str(reason))
        else:
            connected.subscribe(f"{root}/#", qos=1)  # again after each reconnect: the session is clean

    client.on_connect = on_connect
    listener = Listener(client)
    try:
        client.connect(address.host, address.port, keepalive=30)
    except (OSError, ValueError) as error:
        raise TransferError(
            f"{address}: cannot connect: {error}.", hint="Is the broker running, and is the port right?"
        ) from error
    client.loop_start()
    try:
        _wait_until_connected(client, refusals, address)
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


def _wait_until_connected(client: mqtt.Client, refusals: list[str], address: BrokerAddress) -> None:
    end = time.monotonic() + _CONNECT_TIMEOUT_SECONDS
    while not client.is_connected():
        if refusals:
            raise TransferError(f"{address}: refused: {refusals[0]}.", hint="Check user name and password.")
        if time.monotonic() > end:
            raise TransferError(
                f"{address}: no answer for {_CONNECT_TIMEOUT_SECONDS:.0f} s.", hint="Is this an MQTT broker?"
            )
        time.sleep(0.02)
