"""Whatever the contract can say survives writing and reading; whatever is written, a reader takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from device_agent.contract import manifest_codec, topics
from device_agent.contract.errors import ContractError, SchemaVersionError
from device_agent.contract.telemetry import codec, units
from device_agent.contract.telemetry.measurements import MEASUREMENTS, ExponentialHistogram
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.reading import READERS
from device_agent.contract.telemetry.result import Result
from device_agent.contract.telemetry.states import Health
from tests.property import contract_values as values


@settings(max_examples=150, deadline=None)
@given(values.manifests())
def test_a_manifest_survives(manifest: Any) -> None:
    data = manifest_codec.encode(manifest)
    read = manifest_codec.decode(data, where="m")
    assert read == manifest
    assert manifest_codec.encode(read) == data


@pytest.mark.parametrize("name", values.MESSAGES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_message_survives(name: str, data: st.DataObject) -> None:
    message = data.draw(values.MESSAGES[name])
    written = codec.encode(message)
    read = codec.decode(type(message), written, where="m")
    assert read == message
    assert codec.encode(read) == written
    assert b"\n" not in written, "JSON lines: a message is one line"


def test_every_message_has_a_strategy() -> None:
    kinds = {kind for kind in READERS if kind not in MEASUREMENTS.values()}
    assert set(values.MESSAGES) == {
        *MEASUREMENTS,
        *(kind.__name__.removesuffix("State").lower() for kind in kinds),
    }


WILD_NUMBERS = st.floats() | st.integers() | st.sampled_from([1 << 64, -(1 << 63) - 1, 10**400, -0.0, -1])
WILD_TEXTS = st.text(max_size=3) | st.sampled_from(["\ud800", "", "\0", "a\n", "x" * 2000])
DEEP: Any = None
for _ in range(40):
    DEEP = [DEEP]


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_what_is_written_can_be_read_whatever_was_put_in(data: st.DataObject) -> None:
    """A writer that let pass what readers refuse would lose the message without anybody knowing."""
    name = data.draw(st.sampled_from(sorted(values.MESSAGES)))
    message = data.draw(values.MESSAGES[name])
    fields = [field for field in dataclasses.fields(message) if field.name not in ("envelope", "extra")]
    field = data.draw(st.sampled_from(fields))
    held = getattr(message, field.name)
    wild: Any = data.draw(WILD_TEXTS if isinstance(held, str) else WILD_NUMBERS)
    if field.name in ("details", "host", "absent", "result"):
        wild = {data.draw(WILD_TEXTS): data.draw(WILD_NUMBERS | WILD_TEXTS)}
    elif field.name == "hist":
        wild = ExponentialHistogram(scale=wild, zero_count=wild, counts={0: wild})
    elif isinstance(held, tuple):
        wild = (*held, *held)
    changed = dataclasses.replace(message, **{field.name: wild})
    try:
        written = codec.encode(changed)
    except ContractError:
        return
    assert codec.decode(type(changed), written, where="m").envelope == message.envelope


@pytest.mark.parametrize(
    ("unknown", "words"),
    [
        (1 << 64, "does not fit in 64 bits"),
        (float("nan"), "not JSON compliant"),
        ("\udfff", "half of a surrogate pair"),
        (object(), "object is not a JSON type"),
        (DEEP, "nesting of at most 32 levels"),
    ],
    ids=["integer", "nan", "surrogate", "object", "deep"],
)
def test_unknown_fields_that_no_reader_would_take_are_refused(unknown: object, words: str) -> None:
    envelope = Envelope(time=1.0, boot_id="b", seq=0, uptime_seconds=0.0, clock="synced", artifact=None)
    with pytest.raises(ContractError, match=words):
        codec.encode(Health(envelope=envelope, status="up", pid=1, reason="", extra={"x": unknown}))


def test_an_integer_that_no_reader_takes_is_no_number_either() -> None:
    envelope = Envelope(time=1.0, boot_id="b", seq=0, uptime_seconds=0.0, clock="synced", artifact=None)
    result = Result(envelope=envelope, frame="f", latency_seconds=1 << 64, outputs=())
    with pytest.raises(ContractError, match="latency_seconds: expected an integer of at most 64 bits"):
        codec.encode(result)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 999_999_999), st.integers(0, 9), st.data())
def test_a_newer_major_version_is_refused_by_name(major: int, minor: int, data: st.DataObject) -> None:
    message = data.draw(values.MESSAGES["health"])
    version = f"{major}.{minor}"
    written = codec.encode(message).replace(
        f'"schema_version":"{message.schema_version}"'.encode(), f'"schema_version":"{version}"'.encode(), 1
    )
    with pytest.raises(SchemaVersionError, match=rf"schema_version {major}\.{minor} is newer than 1\.[0-9]"):
        codec.decode(Health, written, where="m")


@settings(max_examples=200, deadline=None)
@given(values.topics(), values.ROOTS)
def test_a_topic_survives(topic: topics.Topic, root: str) -> None:
    text = topics.build(topic, root=root)
    assert topics.parse(text, root=root) == topic
    assert not set("+#\0") & set(text)


@settings(max_examples=200, deadline=None)
@given(values.topics(), values.ROOTS, values.DEVICE_IDS)
def test_a_subscription_catches_its_category_and_nothing_else(
    topic: topics.Topic, root: str, other: str
) -> None:
    text = topics.build(topic, root=root)
    for category in ("m", "e", "a", "o", "i", "twin", "cmd", "status"):
        wanted = category == topic.category and topic.detail != "meta"
        for device in (None, topic.device):
            pattern = topics.subscription(category, device=device, root=root)
            assert topic_matches_sub(pattern, text) is wanted
        if other != topic.device:
            assert not topic_matches_sub(topics.subscription(category, device=other, root=root), text)


@settings(max_examples=100, deadline=None)
@given(values.UNITS)
def test_units_survive(entries: dict[str, units.Unit]) -> None:
    assert units.decode_units(units.encode_units(entries), where="u") == entries
