"""History, recordings and addresses: what comes from the broker or from a file."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.telemetry import (
    Birth,
    Envelope,
    Event,
    ExponentialHistogram,
    Health,
    InferenceWindow,
    Reading,
    ThermalSample,
)
from device_agent.contract.telemetry_codec import encode
from device_agent.contract.topics import DeviceTopics
from host_tools.errors import InputError
from host_tools.review.broker_address import is_broker, parse_broker
from host_tools.review.history import History
from host_tools.review.listener import Delivery
from host_tools.review.recording import read_recording, write_delivery
from host_tools.review.telemetry_page import render_telemetry
from host_tools.review.watch import hottest_celsius, live_table, sparkline

TOPICS = DeviceTopics("lab-1")


def envelope(seq: int, *, boot: str = "boot-1", time: float = 1_700_000_000.0) -> Envelope:
    return Envelope(
        time=time + seq, boot_id=boot, seq=seq, uptime_seconds=float(seq), clock="synced", artifact=None
    )


def window(seq: int) -> InferenceWindow:
    return InferenceWindow(
        envelope=envelope(seq),
        window_seconds=1.0,
        inferences_total=seq + 1,
        errors_total=0,
        dropped_frames_total=0,
        throughput_per_second=1.0,
        latency_count=1,
        latency_sum_seconds=0.004,
        latency_min_seconds=0.004,
        latency_max_seconds=0.004,
        latency_p50_seconds=0.004,
        latency_p90_seconds=0.004,
        latency_p95_seconds=0.004,
        latency_p99_seconds=0.004,
        hist=ExponentialHistogram(scale=5, zero_count=0, counts={-255: 1}),
    )


def thermal(seq: int) -> ThermalSample:
    readings = tuple(
        Reading(
            name=f"zone_{index}_celsius",
            value=value,
            source="thermal_zone",
            scope=f"zone_{index}",
            quality="sampled",
        )
        for index, value in enumerate((41.5, 55.25))
    )
    return ThermalSample(envelope=envelope(seq), readings=readings)


def birth(seq: int) -> Birth:
    return Birth(
        envelope=envelope(seq),
        agent_version="0.1.0",
        python_version="3.11.7",
        engine="onnx",
        engine_version="1.32.0",
        model_name="net",
        model_version="1.0.0",
        target="x86_64-onnxruntime",
        host={"machine": "x86_64"},
    )


def delivery(topic: str, payload: bytes) -> Delivery:
    return Delivery(topic=topic, payload=payload, received=1_700_000_100.0)


def filled() -> History:
    history = History()
    history.add(delivery(TOPICS.birth(), encode(birth(0))))
    history.add(
        delivery(TOPICS.health(), encode(Health(envelope=envelope(1), status="up", pid=7, reason="")))
    )
    for seq in range(2, 8):
        history.add(delivery(TOPICS.measurement("inference"), encode(window(seq))))
    history.add(delivery(TOPICS.measurement("thermal"), encode(thermal(8))))
    event = Event(
        envelope=envelope(9), device="lab-1", name="model_loaded", severity="info", text="Loaded net <1.0>."
    )
    history.add(delivery(TOPICS.event("model_loaded"), encode(event)))
    return history


def test_messages_are_sorted_by_device_and_kind() -> None:
    device = filled().devices["lab-1"]
    assert device.birth is not None
    assert device.birth.model_name == "net"
    assert device.health is not None
    assert [one.envelope.seq for one in device.inference] == [2, 3, 4, 5, 6, 7]
    assert [event.name for event in device.events] == ["model_loaded"]


def test_a_message_that_comes_twice_counts_once() -> None:
    history = filled()
    history.add(delivery(TOPICS.measurement("inference"), encode(window(3))))
    assert history.duplicate_count == 1
    assert len(history.devices["lab-1"].inference) == 6


def test_the_same_number_of_another_boot_is_another_message() -> None:
    history = filled()
    again = dataclasses.replace(window(3), envelope=envelope(3, boot="boot-2"))
    history.add(delivery(TOPICS.measurement("inference"), encode(again)))
    assert len(history.devices["lab-1"].inference) == 7


def test_a_bounded_history_keeps_the_latest() -> None:
    history = History(keep=2)
    for seq in range(5):
        history.add(delivery(TOPICS.measurement("inference"), encode(window(seq))))
    assert [one.envelope.seq for one in history.devices["lab-1"].inference] == [3, 4]


@settings(max_examples=150)
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)),
    st.sampled_from(["inference", "thermal", "nonsense"]),
)
def test_garbage_is_counted_never_raised(payload: bytes, kind: str) -> None:
    history = History()
    history.add(delivery(f"ew/v1/device/x///m/{kind}", payload))
    history.add(delivery("some/other/topic", payload))
    assert history.devices == {}
    assert history.refused_count >= 1


def test_the_page_shows_charts_and_escapes_text() -> None:
    page = render_telemetry(filled(), origin="test <b>")
    assert page.count("<svg") == 3
    assert "Loaded net &lt;1.0&gt;." in page
    assert "test &lt;b&gt;" in page
    assert "<script" not in page


def test_the_table_can_be_drawn_at_every_moment() -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(live_table(History(), now=0.0))
    console.print(live_table(filled(), now=1_700_000_500.0))
    text = console.export_text()
    assert "No device has spoken yet." in text
    assert "lab-1" in text
    assert "silent" in text


def test_the_hottest_reading_counts() -> None:
    assert hottest_celsius(thermal(0)) == 55.25


def test_sparkline_spans_lowest_to_highest() -> None:
    assert sparkline([1.0, None, 2.0]) == "▁ █"
    assert sparkline([None]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"


def test_a_recording_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    sent = [delivery("a/b", b'{"x": 1}'), delivery("a/b", bytes(range(256)))]
    with path.open("w", encoding="utf-8") as stream:
        for one in sent:
            write_delivery(stream, one)
    assert list(read_recording(path)) == sent


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"topic": 1, "payload": "x", "received": 1}',
        '{"topic": "a", "received": 1}',
        '{"topic": "a", "payload_base64": "%", "received": 1}',
    ],
)
def test_a_wrong_line_is_named_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(json.dumps({"topic": "a", "payload": "", "received": 1}) + "\n" + line + "\n")
    with pytest.raises(InputError, match=r"record\.jsonl:2: "):
        list(read_recording(path))


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recording"):
        list(read_recording(tmp_path / "none.jsonl"))


def test_broker_addresses() -> None:
    address = parse_broker("mqtts://me:secret@broker.example")
    assert (address.host, address.port, address.tls, address.username) == ("broker.example", 8883, True, "me")
    assert "secret" not in str(address)
    assert parse_broker("mqtt://localhost:2883").port == 2883
    assert is_broker("mqtt://x")
    assert not is_broker("file.jsonl")


@pytest.mark.parametrize("text", ["localhost", "http://x", "mqtt://", "mqtt://x:99999999", "mqtt://x/path"])
def test_wrong_addresses_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="broker"):
        parse_broker(text)
