from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.telemetry.codec import decode, encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    InferenceWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.states import Health
from device_agent.contract.telemetry.units import encode_units, units_of
from device_agent.contract.topics import DeviceTopics
from device_agent.sensors.reading import Absent, Measured
from device_agent.telemetry import sampler
from device_agent.telemetry.courier import Refused
from device_agent.telemetry.histogram import Histogram
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.refusals import Refusals
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import FLOOR_SECONDS, Stamper
from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device_agent.telemetry.store import SpooledMessage

NOW = 1_800_000_000.0


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.synced = NOW, 50.0, True

    def stamper(self) -> Stamper:
        return Stamper(
            boot_id="boot-1",
            wall_seconds=lambda: self.wall,
            monotonic_seconds=lambda: self.monotonic,
            synchronized=lambda: self.synced,
        )


# --- envelopes ---


def test_numbers_rise_by_one_and_a_number_can_be_used_again() -> None:
    stamper = Time().stamper()
    assert [stamper.next().seq for _ in range(3)] == [0, 1, 2]
    assert stamper.again(1).seq == 1
    assert stamper.next().seq == 3


def test_an_envelope_says_how_far_its_time_can_be_trusted() -> None:
    time = Time()
    stamper = time.stamper()
    time.monotonic = 52.5
    envelope = stamper.next()
    assert (envelope.time, envelope.uptime_seconds, envelope.clock) == (NOW, 2.5, "synced")
    time.synced = False
    assert stamper.next().clock == "unsynced"
    time.wall = 3.0
    envelope = stamper.next()
    assert (envelope.time, envelope.clock) == (FLOOR_SECONDS + 2.5, "floor")


def test_the_artifact_is_in_every_envelope_from_when_it_is_known() -> None:
    stamper = Time().stamper()
    assert stamper.next().artifact is None
    stamper.artifact = "sha256:" + "a" * 64
    assert stamper.next().artifact == "sha256:" + "a" * 64


# --- samples ---


@given(st.lists(st.integers(1, 10**11), max_size=50), st.integers(0, 9), st.floats(0.001, 1e5))
@settings(max_examples=100, deadline=None)
def test_a_window_is_always_a_message_that_the_contract_takes(
    durations: list[int], errors: int, seconds: float
) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    window = sampler.inference_window(
        Time().stamper().next(),
        latencies=histogram,
        counters=sampler.Counters(inferences=len(durations), errors=errors, dropped_frames=1),
        window_seconds=seconds,
        idle_reason="no frame came",
    )
    assert decode(InferenceWindow, encode(window), where="test") == window
    assert window.latency_count == len(durations) == sum(window.hist.counts.values())
    assert (window.latency_p50_seconds is None) == (not durations)
    if durations:
        assert window.latency_max_seconds == pytest.approx(max(durations) * 1e-9)
        assert window.latency_sum_seconds == pytest.approx(sum(durations) * 1e-9)
    else:
        assert set(window.absent.values()) == {"no frame came"}


def test_what_a_sensor_could_not_read_is_absent_with_its_reason_and_never_0() -> None:
    values: dict[str, float | Absent] = {
        "cpu_ratio": 0.5,
        "process_cpu_ratio": Absent("first"),
        "process_rss_bytes": 5,
        "process_pss_bytes": Absent("x" * 2000),
        "memory_available_bytes": -1,
        "memory_total_bytes": 10,
        "swap_used_bytes": 0,
        "load_1m": 0.1,
        "cpu_frequency_hertz": Absent("no cpufreq"),
        "storage_available_bytes": 1,
        "cpu_pressure_ratio": 0.25,
        "memory_pressure_ratio": 0.0,
        "io_pressure_ratio": Absent("EOPNOTSUPP on /proc/pressure/io"),
    }
    state = sampler.SpoolState(messages=3, size_bytes=99, dropped=0)
    sample = sampler.system_sample(Time().stamper().next(), values, state)
    document = json.loads(encode(sample))
    assert decode(SystemSample, encode(sample), where="test") == sample
    assert "cpu_frequency_hertz" not in document
    assert document["absent"]["cpu_frequency_hertz"] == "no cpufreq"
    assert document["absent"]["memory_available_bytes"] == "read as -1, which cannot be"
    assert document["swap_used_bytes"] == 0
    assert (document["cpu_pressure_ratio"], document["memory_pressure_ratio"]) == (0.25, 0.0)
    assert document["absent"]["io_pressure_ratio"] == "EOPNOTSUPP on /proc/pressure/io"


def test_readings_keep_source_scope_and_quality() -> None:
    measured = [
        Measured(name="a_celsius", value=41.5, source="thermal_zone", scope="zone:a", quality="sampled"),
        Measured(
            name="b_celsius", value=Absent("EIO on b"), source="hwmon", scope="chip:b", quality="sampled"
        ),
    ]
    thermal = sampler.thermal_sample(Time().stamper().next(), measured)
    power = sampler.power_sample(Time().stamper().next(), measured)
    assert decode(ThermalSample, encode(thermal), where="test") == thermal
    assert decode(PowerSample, encode(power), where="test") == power
    assert [reading.quality for reading in thermal.readings] == ["sampled", "unavailable"]
    assert thermal.absent == {"b_celsius": "EIO on b"}


def many(count: int, *, absent: int = 0) -> ThermalSample:
    readings = [
        Measured(
            name=f"core_{number}_celsius",
            value=Absent("EIO " * 20) if number < absent else 40.0,
            source="hwmon",
            scope="package " * 4,
            quality="sampled",
        )
        for number in range(count)
    ]
    return sampler.thermal_sample(Time().stamper().next(), readings)


@given(st.integers(0, 128), st.integers(0, 128), st.integers(1_000, 20_000))
@settings(max_examples=50, deadline=None)
def test_readings_are_left_out_until_the_message_fits_and_none_too_many(
    count: int, absent: int, most: int
) -> None:
    whole = many(count, absent=absent)
    fitted = sampler.fitted(whole, max_bytes=most)
    assert decode(ThermalSample, encode(fitted), where="test") == fitted
    assert max(len(encode(fitted)), len(encode_units(units_of(fitted)))) <= most
    if fitted == whole:
        return
    *kept, note = fitted.readings
    assert kept == list(whole.readings[: len(kept)])
    assert (note.name, note.value) == ("readings_left_out_count", count - len(kept))
    larger = sampler._cut(whole, len(kept) + 1)
    assert max(len(encode(larger)), len(encode_units(units_of(larger)))) > most


def test_what_had_been_left_out_before_is_counted_too() -> None:
    note = Reading(
        name="readings_left_out_count", value=7.0, source="agent", scope="agent", quality="counter"
    )
    whole = many(120)
    fitted = sampler.fitted(dataclasses.replace(whole, readings=(*whole.readings, note)), max_bytes=4096)
    assert fitted.readings[-1].value == 120 - (len(fitted.readings) - 1) + 7


# --- the recorder ---


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "s.db", SpoolLimits(max_bytes=1 << 20, max_rows=5, memory_max_bytes=1 << 16))
    yield made
    made.close()


def recorder(spool: Spool, *, payload_max_bytes: int = 4096) -> Recorder:
    return Recorder(
        spool=spool,
        stamper=Time().stamper(),
        topics=DeviceTopics("dev-1"),
        payload_max_bytes=payload_max_bytes,
        local_stamper=Time().stamper(),
    )


def test_the_last_will_and_the_goodbye_are_number_0_and_nothing_else_is(spool: Spool) -> None:
    made = recorder(spool)
    made.health("up", "")
    made.health("down", "stopped")
    spool.commit()
    (goodbye,) = spool.take(9)
    will = made.will()
    assert goodbye.topic == will.topic == "ew/v1/device/dev-1/service/agent/status/health"
    assert goodbye.kind is Kind.STATE
    assert goodbye.retain
    said = [decode(Health, payload, where="h") for payload in (goodbye.payload, will.payload)]
    assert [health.envelope.seq for health in said] == [0, 0]
    assert [health.status for health in said] == ["down", "down"]
    assert made.next_envelope().seq == 2


def sent(spool: Spool) -> list[SpooledMessage]:
    """Deliver everything that waits."""
    spool.commit()
    messages = spool.take(99)
    for message in messages:
        spool.acknowledge(message.id)
    return messages


def test_a_state_that_replaces_one_nobody_has_seen_takes_over_its_number(spool: Spool) -> None:
    made = recorder(spool)

    def numbers() -> list[int]:
        return [json.loads(message.payload)["seq"] for message in sent(spool)]

    made.health("degraded", "not running yet: verifying")
    spool.commit()
    made.health("degraded", "not running yet: loading")
    made.birth(engine=None, model=None, host={})
    made.health("up", "")
    made.birth(engine=("null", "1"), model=None, host={})
    assert sorted(numbers()) == [1, 2]
    made.health("degraded", "hot")
    assert numbers() == [3], "the one before was sent"
    spool.release()
    made.health("up", "")
    assert numbers() == [4], "the one before may have been sent"


def test_texts_that_utf_8_cannot_carry_are_printable(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edgewright.agent")  # the test runner could not carry them either
    made = recorder(spool)
    made.event("frames_refused", "warning", "\udcff.npy: no array", {"file": "\udcff.npy", "frames": 1})
    made.health("degraded", "\udcff")
    health, event = (json.loads(message.payload) for message in sent(spool))
    assert event["data"]["text"] == "\\udcff.npy: no array"
    assert event["data"]["details"] == {"file": "\\udcff.npy", "frames": 1}
    assert health["reason"] == "\\udcff"


def test_a_message_that_breaks_a_rule_costs_itself_and_is_said_once(spool: Spool) -> None:
    made = recorder(spool)
    sample = sampler.thermal_sample(made.next_envelope(), [])
    broken = Reading(name="a_celsius", value=float("inf"), source="s", scope="c", quality="sampled")
    for _ in range(3):
        made.measurement(dataclasses.replace(sample, readings=(broken,)))
    topics = [message.topic.rsplit("/", 1)[-1] for message in sent(spool)]
    assert topics == ["meta", "message_unusable"]
    assert spool.lost_total.measurements == 3


def test_a_loss_of_what_tells_of_a_loss_is_counted_and_not_told(spool: Spool) -> None:
    made = recorder(spool, payload_max_bytes=100)
    made.event("engine_loaded", "info", "x" * 200)
    assert spool.rows == 0
    assert spool.lost_total.events > spool.unreported_loss.events == 1


def test_what_stays_on_the_machine_is_numbered_apart(spool: Spool) -> None:
    made = recorder(spool)
    local = [made.local_envelope() for _ in range(3)]
    assert [envelope.seq for envelope in local] == [0, 1, 2]
    assert made.next_envelope().seq == 1


# --- messages that the broker refused ---


def test_refusals_are_counted_by_topic_and_told_once_a_window(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    made = recorder(spool)
    refusals = Refusals(made)
    assert refusals.report() == ""
    for _ in range(500):
        refusals.count(Refused("ew/v1/device/dev-1///m/power", Kind.MEASUREMENT, "Not authorized"))
    refusals.count(Refused("ew/v1/device/dev-1///e/x", Kind.EVENT, "Not authorized"))
    trouble = refusals.report()
    assert (
        trouble
        == "the broker refuses messages of ew/v1/device/dev-1///e/x and 1 other topics: Not authorized"
    )
    (message,) = sent(spool)
    details = json.loads(message.payload)["data"]["details"]
    assert (details["messages"], details["topics"], details["messages_of_topic"]) == (501, 2, 1)
    assert (spool.lost_total.measurements, spool.lost_total.events) == (500, 1)
    assert spool.unreported_loss.total == 0
    assert caplog.text.count("refused a message of") == 2
    assert refusals.report() == ""
    assert sent(spool) == []


@pytest.mark.parametrize("event", ["message_refused", "telemetry_lost"])
def test_the_refusal_of_what_tells_of_a_loss_is_counted_and_told_by_nothing(spool: Spool, event: str) -> None:
    refusals = Refusals(recorder(spool))
    refusals.count(Refused(f"ew/v1/device/dev-1///e/{event}", Kind.EVENT, "Not authorized"))
    assert refusals.report() == ""
    assert sent(spool) == []
    assert spool.lost_total.events == 1


def test_what_is_refused_for_now_is_no_loss(spool: Spool) -> None:
    refusals = Refusals(recorder(spool))
    refusals.count(Refused("t", Kind.EVENT, "Quota exceeded", kept=True))
    assert refusals.report() == ""
    assert spool.lost_total.total == 0


def test_an_event_is_on_disk_at_once(spool: Spool) -> None:
    recorder(spool).event("engine_loaded", "info", "text " * 500, {"seconds": 0.5})
    (message,) = spool.take(9)
    event = decode(Event, message.payload, where="e")
    assert (event.name, event.device, event.details["seconds"]) == ("engine_loaded", "dev-1", 0.5)
    assert message.topic == "ew/v1/device/dev-1///e/engine_loaded"


def test_units_go_out_with_the_first_measurement_when_they_change_and_with_every_birth(spool: Spool) -> None:
    made = recorder(spool)

    def measure(*names: str) -> list[str]:
        readings = [
            Measured(name=name, value=1.0, source="s", scope="c", quality="sampled") for name in names
        ]
        made.measurement(sampler.thermal_sample(made.next_envelope(), readings))
        return drained()

    def drained() -> list[str]:
        spool.commit()
        messages = spool.take(99)
        for message in messages:
            spool.acknowledge(message.id)
        return [message.topic.removeprefix("ew/v1/device/dev-1") for message in messages]

    assert measure("a_celsius") == ["///m/thermal/meta", "///m/thermal"]
    assert measure("a_celsius") == ["///m/thermal"]
    assert measure("a_celsius", "b_celsius") == ["///m/thermal/meta", "///m/thermal"]
    made.birth(engine=None, model=None, host={"machine": "x"})
    assert drained() == ["/service/agent/status/birth", "///m/thermal/meta"]


def test_a_message_that_is_too_large_is_dropped_and_said_once(spool: Spool) -> None:
    made = recorder(spool, payload_max_bytes=900)
    readings = [
        Measured(name=f"zone_{number}_celsius", value=1.0, source="s", scope="c" * 40, quality="sampled")
        for number in range(20)
    ]
    for _ in range(3):
        made.measurement(sampler.thermal_sample(made.next_envelope(), readings))
    spool.commit()
    topics = [message.topic.removeprefix("ew/v1/device/dev-1///") for message in spool.take(9)]
    assert [topic for topic in topics if not topic.endswith("meta")] == [
        "e/message_too_large"
    ] * topics.count("e/message_too_large")
    assert 1 <= topics.count("e/message_too_large") <= 2  # the measurement's, and its units'


def test_lost_messages_are_told_once_by_an_event(spool: Spool) -> None:
    made = recorder(spool)
    made.loss()
    assert spool.rows == 0
    for number in range(8):
        spool.append(Kind.MEASUREMENT, "t", b"%d" % number)
    spool.commit()
    made.loss()
    (event,) = [message for message in spool.take(9) if message.kind is Kind.EVENT]
    details = json.loads(event.payload)["data"]["details"]
    assert details == {"measurements": 3, "results": 0, "events": 0}
    assert spool.unreported_loss.measurements == 1  # the event itself took the place of one
