"""`Telemetry`: what is heard from the broker, as the review's own `History` keeps it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.contract.topics import DEFAULT_ROOT
from hil.errors import AgentError, RigError
from host_tools.review.broker_address import parse_broker
from host_tools.review.history import DeviceHistory, History
from host_tools.review.listener import listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.broker import Broker
    from host_tools.review.listener import Listener

_T = TypeVar("_T")
_PROBE = f"{DEFAULT_ROOT}/hil/probe"
_MOMENT = 0.05
_REST = 9
"""Times as long as it took to say whether to wait on, until that is asked again."""
_HEAR_SECONDS = 120.0
_PUBLISH_SECONDS = 10.0


class Telemetry:
    """All that passes a broker; nothing is taken in but while somebody waits or listens."""

    def __init__(self, broker: Broker, listener: Listener) -> None:
        self._broker = broker
        self._listener = listener
        self.history = History()

    def of(self, device: str) -> DeviceHistory:
        """Return what a device said so far."""
        return self.history.devices.get(device) or DeviceHistory(device=device)

    def listen_for(self, seconds: float) -> None:
        """Take in what comes in so long."""
        for delivery in self._listener.deliveries(seconds=seconds):
            if delivery is not None and delivery.topic != _PROBE:
                self.history.add(delivery)

    def wait_for(
        self,
        claim: Callable[[], _T | None],
        *,
        what: str,
        seconds: float,
        still: Callable[[], str] = lambda: "",
    ) -> _T:
        """Return the first true value of ``claim``.

        To ask a slow board costs time that it needs for what is waited for, so what takes long to answer is asked less often.

        Args:
            claim: Asked after every moment of listening; it is listened for at least as long as the answer took.
            what: Stands in the error.
            seconds: How long to wait.
            still: Says, as a text that is not empty, why it is of no use to wait any longer; gets a tenth of the time at most.

        Raises:
            AgentError: There is none in time, or it is of no use to wait.
        """
        begin = time.monotonic()
        still_at = begin
        while True:
            asked = time.monotonic()
            value = claim()
            if value:
                return value
            answered = time.monotonic()
            is_late = answered > begin + seconds
            reason = still() if is_late or answered >= still_at else ""
            if reason or is_late:
                raise AgentError(f"{what}: {reason or f'not within {seconds:g} s'}")
            if answered >= still_at:
                now = time.monotonic()
                still_at = now + _REST * (now - answered)
            self.listen_for(max(_MOMENT, answered - asked))

    def wait_until_heard(self, *, seconds: float = _HEAR_SECONDS) -> None:
        """Wait until what is published now is heard: after the broker was away, the subscription is made anew.

        Args:
            seconds: How long at most.

        Raises:
            RigError: It is not.
        """
        deadline = time.monotonic() + seconds
        tokens = set[bytes]()  # one that comes when the next is on its way is heard as well
        while time.monotonic() < deadline:
            tokens.add(token := uuid4().bytes)
            _publish(self._broker.port, token)
            for delivery in self._listener.deliveries(seconds=_MOMENT * 4):
                if delivery is None:
                    continue
                if delivery.topic != _PROBE:
                    self.history.add(delivery)
                elif delivery.payload in tokens:
                    return
        raise RigError(f"the broker at port {self._broker.port} passes nothing on.")


@contextmanager
def listening(broker: Broker) -> Iterator[Telemetry]:
    """Subscribe to all that passes a broker until the block ends; a broker that was away for long is heard at once when it is back.

    Raises:
        TransferError: It cannot be reached.
    """
    with listen(
        parse_broker(f"mqtt://127.0.0.1:{broker.port}"), root=DEFAULT_ROOT, longest_pause_seconds=1
    ) as listener:
        yield Telemetry(broker, listener)


def _publish(port: int, payload: bytes) -> None:
    """Publish a probe if the broker takes it in time: no thread, no second attempt."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    try:
        client.connect("127.0.0.1", port)
    except OSError:  # it is away; nothing will be heard
        return
    deadline = time.monotonic() + _PUBLISH_SECONDS
    while not client.is_connected() and time.monotonic() < deadline:
        client.loop(_MOMENT)
    sent = client.publish(_PROBE, payload)
    while client.is_connected() and not sent.is_published() and time.monotonic() < deadline:
        client.loop(_MOMENT)
    client.disconnect()
