"""The fleet's listener at a real broker: hostile messages, a store that cannot take anything, a broker that goes away, a second server."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.errors import ContractError, TransferError
from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.states import Health
from device_agent.contract.topics import DeviceTopics
from host_tools.errors import StoreError
from host_tools.fleet.field.listener import Listener, ListenerSettings
from host_tools.fleet.field.observations import HealthTold, UpdateTold
from host_tools.free_port import free_port
from host_tools.review.broker_address import parse_broker
from host_tools.review.ingest.subscriber import BrokerRefusedError
from tests.integration.support import publish, wait_until
from tests.unit.host_tools.review.canned_broker import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.fleet.field.observations import Said
    from tests.integration.support import Mosquitto

TOPICS = DeviceTopics("dev-1")
DIGEST = "sha256:" + "d" * 64
ENVELOPE = Envelope(time=1.8e9, boot_id="b1", seq=1, uptime_seconds=1.0, clock="unsynced", artifact=DIGEST)


class Running:
    """A listener on a thread; ``take`` may raise, as a store does."""

    def __init__(self, port: int, take: Callable[[Sequence[Said]], None]) -> None:
        self.listener = Listener(ListenerSettings(broker=parse_broker(f"mqtt://127.0.0.1:{port}")), take)
        self.stop, self.error = threading.Event(), None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.listener.run(self.stop)
        except TransferError as error:
            self.error = error  # type: ignore[assignment]

    def hears(self) -> Running:
        wait_until(lambda: self.listener.connected, what="it hears")
        return self

    def close(self) -> None:
        self.stop.set()
        self._thread.join(60)


def update(seq: int) -> bytes:
    return encode(
        Event(
            envelope=replace(ENVELOPE, seq=seq),
            device="dev-1",
            name="update_started",
            severity="info",
            text="begins",
            details={"digest": DIGEST, "serial": seq},
        )
    )


def tell(port: int, seq: int) -> None:
    publish(port, TOPICS.event("update_started"), update(seq))


def test_hostile_messages_are_counted_and_stop_nothing(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    said: list[Said] = []
    running = Running(mosquitto.port, said.extend).hears()
    hostile = [
        (TOPICS.event("update_started"), b"\xff\xfe"),
        (TOPICS.event("update_started"), b"[" * 100_000),
        (TOPICS.event("update_started"), b'{"specversion":"1.0"}'),
        (TOPICS.event("update_rejected"), update(7)),
        (DeviceTopics("dev-2").event("update_started"), update(7)),
        (TOPICS.health(), b'{"status":"up\\u001b[31m"}'),
        (TOPICS.reported(), b"{}"),
        ("ew/v1/device/a b/x/y/e/name", b"{}"),
        ("ew/v1/device/dev-1///e/Name", b"{}"),
    ]
    for topic, payload in hostile:
        publish(mosquitto.port, topic, payload)
    tell(mosquitto.port, 1)
    wait_until(lambda: said, what="the good one")
    running.close()
    assert running.error is None
    assert running.listener.refused == len(hostile)
    assert [one.serial for one in said if isinstance(one, UpdateTold)] == [1]
    assert "a message is left out" in caplog.text
    assert "\x1b" not in caplog.text


def test_what_the_store_does_not_take_comes_again_and_nothing_is_lost(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    stored: list[int] = []
    refusals = [StoreError("locked"), OSError("full")]

    def take(said: Sequence[Said]) -> None:
        if refusals:
            raise refusals.pop()
        stored.extend(one.serial for one in said if isinstance(one, UpdateTold))

    running = Running(mosquitto.port, take).hears()
    tell(mosquitto.port, 1)
    wait_until(lambda: set(stored) >= {1}, what="it came again")
    running.close()
    assert not refusals
    tell(mosquitto.port, 2)  # while nobody listens
    tell(mosquitto.port, 3)
    running = Running(mosquitto.port, take)
    wait_until(lambda: set(stored) == {1, 2, 3}, what="what came meanwhile")
    running.close()
    assert running.error is None


def test_one_that_cannot_be_taken_for_a_defect_does_not_keep_the_others_away(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    stored: list[int] = []

    def take(said: Sequence[Said]) -> None:
        serials = [one.serial for one in said if isinstance(one, UpdateTold)]
        if 2 in serials:
            raise OverflowError("too large")
        stored.extend(serials)

    running = Running(mosquitto.port, take).hears()
    for serial in (1, 2, 3):
        tell(mosquitto.port, serial)
    wait_until(lambda: set(stored) == {1, 3}, what="the others")
    running.close()
    assert (running.error, running.listener.refused) == (None, 1)
    assert "cannot be taken: OverflowError" in caplog.text


def test_a_broker_that_goes_away_is_found_again(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    said: list[Said] = []
    running = Running(mosquitto.port, said.extend).hears()
    mosquitto.stop()
    wait_until(lambda: not running.listener.connected and running.listener.note, what="it is missed")
    mosquitto.start()
    running.hears()
    assert running.listener.note == ""
    publish(mosquitto.port, TOPICS.health(), encode(Health(envelope=ENVELOPE, status="up", pid=1, reason="")))
    wait_until(lambda: any(isinstance(one, HealthTold) for one in said), what="health")
    running.close()
    assert running.error is None


def test_a_broker_that_is_not_there_yet_is_waited_for_and_one_that_refuses_is_told() -> None:
    running = Running(free_port(), lambda _: None)
    wait_until(lambda: "refused" in running.listener.note, what="it tries")
    running.close()
    assert running.error is None
    with answering(b"\x20\x03\x00\x87\x00") as port:  # CONNACK, not authorized: MQTT 5, 3.2.2.2
        running = Running(port, lambda _: None)
        wait_until(lambda: running.error is not None, what="it gives up")
        running.close()
    assert isinstance(running.error, BrokerRefusedError)


def test_a_wrong_root_is_refused() -> None:
    with pytest.raises(ContractError, match="topic root"):
        ListenerSettings(broker=parse_broker("mqtt://localhost"), root="a b")
