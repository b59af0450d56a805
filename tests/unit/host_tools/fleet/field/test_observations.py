"""What a device's messages say to the fleet, and what is refused."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import ContractError, EdgewrightError
from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import UPDATE_EVENTS, Event
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.states import Birth, Health, Reported
from device_agent.contract.topics import DeviceTopics
from host_tools.fleet.field.observations import (
    _UPDATE_STATES,
    Born,
    Crashed,
    HealthTold,
    Lives,
    Said,
    StateTold,
    UpdatePostponed,
    UpdateTold,
    observe,
)
from tests.property import contract_values as values

TOPICS = DeviceTopics("dev-1")
DIGEST, NEW = "sha256:" + "d" * 64, "sha256:" + "e" * 64
NOW = 1_800_000_000.0
ENVELOPE = Envelope(time=NOW - 50.0, boot_id="b1", seq=4, uptime_seconds=9.0, clock="synced", artifact=DIGEST)
BIRTH = Birth(
    envelope=ENVELOPE,
    agent_version="0.9",
    python_version="3.11",
    engine="tflite",
    engine_version="2.1.0",
    model_name="m",
    model_version="1",
    target="cortex-a-tflite",
    host={"memory_bytes": 1 << 30, "machine": "aarch64"},
)
REPORTED = Reported(
    envelope=ENVELOPE,
    group="lab",
    targets=("cortex-a-tflite",),
    desired_serial=9,
    desired=NEW,
    in_trial=True,
    on_probation=False,
    counter_floor=5,
)


def told(topic: str, message: Any, *, retained: bool = False) -> Said | None:
    payload = message if isinstance(message, bytes) else encode(message)
    return observe(topic, payload, received_seconds=NOW, retained=retained, root="ew/v1")


def event(name: str, **details: Any) -> Event:
    return Event(
        envelope=ENVELOPE,
        device="dev-1",
        name=name,
        severity="info",
        text=f"{name} happened",
        details=details,
    )


def test_a_birth_says_what_the_device_provides() -> None:
    base = {"device": "dev-1", "boot_id": "b1", "seq": 4, "seen_seconds": NOW, "said_seconds": NOW}
    assert told(TOPICS.birth(), BIRTH) == Born(
        **base,  # type: ignore[arg-type]
        artifact=DIGEST,
        target="cortex-a-tflite",
        engine="tflite 2.1.0",
        agent_version="0.9",
        memory_bytes=1 << 30,
    )
    bare = replace(BIRTH, engine=None, engine_version=None, target=None, host={"memory_bytes": True})
    said = told(TOPICS.birth(), bare)
    assert isinstance(said, Born)
    assert (said.engine, said.target, said.memory_bytes) == ("", None, None)


@pytest.mark.parametrize("memory", [1 << 63, (1 << 64) - 1, -1, True, "much"])
def test_what_no_database_keeps_is_not_handed_on(memory: Any) -> None:
    said = told(
        TOPICS.birth(), replace(BIRTH, engine="n\0", agent_version="\0", host={"memory_bytes": memory})
    )
    assert isinstance(said, Born)
    assert (said.engine, said.agent_version, said.memory_bytes) == ("n\ufffd 2.1.0", "\ufffd", None)
    failed = told(TOPICS.event("agent_failed"), replace(event("agent_failed"), text="a\0b"))
    assert isinstance(failed, Crashed)
    assert failed.reason == "a\ufffdb"


def test_the_state_says_what_is_followed() -> None:
    said = told(TOPICS.reported(), REPORTED)
    assert isinstance(said, StateTold)
    assert (said.group, said.targets, said.desired_serial, said.desired) == (
        "lab",
        ("cortex-a-tflite",),
        9,
        NEW,
    )
    assert (said.artifact, said.in_trial, said.on_probation, said.counter_floor) == (DIGEST, True, False, 5)


def test_what_the_broker_kept_or_says_for_a_device_does_not_show_that_it_lives_now() -> None:
    up, down = (
        Health(envelope=ENVELOPE, status=status, pid=1, reason="why" if status == "down" else "")
        for status in ("up", "down")
    )
    seen = []
    for message, retained in ((up, False), (up, True), (down, False)):
        said = told(TOPICS.health(), message, retained=retained)
        assert isinstance(said, HealthTold)
        seen.append((said.health, said.reason, NOW - said.seen_seconds))
    assert seen == [("up", "", 0.0), ("up", "", 50.0), ("down", "why", 50.0)]


def test_a_message_that_has_waited_is_of_its_own_time_if_its_clock_can_be_trusted() -> None:
    for age, clock, expected in ((50.0, "synced", 0.0), (500.0, "synced", 500.0), (500.0, "unsynced", 0.0)):
        envelope = replace(ENVELOPE, time=NOW - age, clock=clock)  # type: ignore[arg-type]
        said = told(TOPICS.event("x"), replace(event("x"), envelope=envelope))
        assert said is not None
        assert (NOW - said.said_seconds, said.seen_seconds) == (expected, NOW)


@pytest.mark.parametrize(
    ("name", "state", "result", "reason"),
    [
        ("update_started", "download", "none", ""),
        ("update_tried", "downloaded", "none", ""),
        ("update_activated", "proceeding", "none", ""),
        ("update_committed", "closed", "success", ""),
        ("update_rolled_back", "closed", "failure", "update_rolled_back happened"),
        ("update_rejected", "closed", "failure", "update_rejected happened"),
    ],
)
def test_an_update_moves_a_job(name: str, state: str, result: str, reason: str) -> None:
    said = told(TOPICS.event(name), event(name, digest=NEW, serial=8, reason="latency"))
    assert isinstance(said, UpdateTold)
    assert (said.digest, said.serial, said.state, said.result, said.reason) == (NEW, 8, state, result, reason)
    assert said.code == ("latency" if reason else "")


def test_other_events_say_that_it_lives_or_has_crashed() -> None:
    assert {"update_postponed", "update_store_damaged", "update_state_damaged"} == set(UPDATE_EVENTS) - set(
        _UPDATE_STATES
    )
    assert isinstance(told(TOPICS.event("update_store_damaged"), event("update_store_damaged")), Lives)
    waits = told(TOPICS.event("update_postponed"), event("update_postponed"))
    assert isinstance(waits, UpdatePostponed)
    assert waits.reason == "update_postponed happened"
    crash = told(TOPICS.event("agent_failed"), event("agent_failed", code="engine"))
    assert isinstance(crash, Crashed)
    assert (crash.artifact, crash.reason) == (DIGEST, "agent_failed happened")


def test_what_is_not_for_the_fleet_is_nothing() -> None:
    assert told(TOPICS.desired(), b"{}") is None
    assert told(TOPICS.health(), b"") is None
    assert told(TOPICS.results(), b"{}") is None


@pytest.mark.parametrize(
    ("topic", "message", "says"),
    [
        ("ew/v2/x", b"{}", "expected one below"),
        (TOPICS.birth(), b"\xff", "not valid JSON"),
        (TOPICS.event("other"), event("update_started", digest=NEW, serial=8), "expected event 'other'"),
        (DeviceTopics("dev-2").event("x"), event("x"), "of device 'dev-2'"),
        (TOPICS.event("update_started"), event("update_started", serial=8), "details.digest"),
        (TOPICS.event("update_started"), event("update_started", digest=NEW, serial=True), "details.serial"),
        (TOPICS.event("update_rejected"), event("update_rejected", digest=NEW, serial=1), "details.reason"),
        (TOPICS.reported(), replace(REPORTED, envelope=replace(ENVELOPE, time=NOW + 1e6)), "after its receipt"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(topic: str, message: Any, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        told(topic, message)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_a_device_sends_is_an_observation_of_it_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(("birth", "health", "reported", "event")))
    message = data.draw(values.MESSAGES[name])
    topic = TOPICS.event(message.name) if name == "event" else getattr(TOPICS, name)()
    with contextlib.suppress(EdgewrightError):
        said = told(topic, data.draw(st.just(encode(message)) | st.binary(max_size=40)))
        assert said is None or (said.device == "dev-1" and said.seen_seconds <= NOW)
