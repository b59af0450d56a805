"""Nothing but `EdgewrightError` comes out of a reader, whatever goes in; and what a reader takes, it can write again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract import desired, manifest_codec, topics
from device_agent.contract.digest import checked_digest
from device_agent.contract.errors import ContractError, EdgewrightError
from device_agent.contract.telemetry import codec, units
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import MEASUREMENTS
from device_agent.contract.telemetry.message import Message
from device_agent.contract.telemetry.result import Result
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health, Reported
from tests.property.contract_values import JSON, TEXTS

KINDS: dict[str, type[Message]] = {
    **MEASUREMENTS,
    "birth": Birth,
    "health": Health,
    "reported": Reported,
    "alarm": Alarm,
    "event": Event,
    "command": CommandState,
    "result": Result,
}
VALID = [
    json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "contract" / "vectors" / "valid").glob("*.json"))
]


def read_and_write(kind: str, data: bytes) -> None:
    """Read; what was read is written, and read again as the same."""
    if kind == "manifest":
        manifest = manifest_codec.decode(data, where="m")
        assert manifest_codec.decode(manifest_codec.encode(manifest), where="m") == manifest
    elif kind == "units":
        entries = units.decode_units(data, where="u")
        assert units.decode_units(units.encode_units(entries), where="u") == entries
    elif kind == "desired":
        subject = subject_of(data)
        state = desired.decode(data, where="d", subject=subject)
        assert desired.decode(desired.encode(state), where="d", subject=subject) == state
    else:
        message = codec.decode(KINDS[kind], data, where="m")
        assert codec.decode(KINDS[kind], codec.encode(message), where="m") == message


def subject_of(data: bytes) -> str:
    """Return whom a document says that it is for, so that it is not refused for that alone."""
    try:
        document = json.loads(data)
    except ValueError:
        return "group/doors"
    return str(document.get("subject")) if isinstance(document, dict) else "group/doors"


def spots(document: Any, spot: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a document, itself included."""
    found = [spot]
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in items:
        found.extend(spots(value, (*spot, key)))
    return found


def changed(document: Any, spot: tuple[Any, ...], change: Any) -> Any:
    if not spot:
        return change(document)
    key, *rest = spot
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = changed(document[key], tuple(rest), change)
    return copy


HARD_NUMBERS = (0, -1, 1, 0.0, -0.0, 1e-320, 1e308, (1 << 64) - 1, -(1 << 63), 1 << 53, True, False)
HARD_TEXTS = ("", "1.0", "NaN", "../x", "/x", "sha256:", "a" * 1025, "\0", "💥")
HARD = st.sampled_from([*HARD_NUMBERS, *HARD_TEXTS, None, [], {}, [[]], [None], {"": None}])


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_valid_documents_with_something_else_in_one_place(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VALID))
    document = vector["document"]
    for _ in range(data.draw(st.integers(1, 2))):
        spot = data.draw(st.sampled_from(spots(document)))
        change = data.draw(st.sampled_from(("replace", "add", "drop")))
        value = data.draw(HARD | JSON)
        key = data.draw(TEXTS)

        def apply(held: Any, change: str = change, value: Any = value, key: str = key) -> Any:
            if change == "add" and isinstance(held, dict):
                return {key: value, **held}
            if change == "add" and isinstance(held, list):
                return [*held, *held[:1], value]
            if change == "drop" and isinstance(held, (dict, list)):
                return type(held)(list(held.items())[1:] if isinstance(held, dict) else held[1:])
            return value

        document = changed(document, spot, apply)
    with contextlib.suppress(EdgewrightError):
        read_and_write(vector["kind"], json.dumps(document).encode())


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_valid_documents_with_other_bytes(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VALID))
    document = bytearray(json.dumps(vector["document"], ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([b"9" * 30, b"[" * 500, b'{"a":' * 500, b"1e999", b"\\ud800", b","])
        )
    with contextlib.suppress(EdgewrightError):
        read_and_write(vector["kind"], bytes(document))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), kind=st.sampled_from(["manifest", "units", *KINDS]))
def test_any_bytes(data: bytes, kind: str) -> None:
    with contextlib.suppress(EdgewrightError):
        read_and_write(kind, data)


@pytest.mark.parametrize("kind", ["manifest", "units", *KINDS])
def test_too_long_a_document_is_refused_before_it_is_parsed(kind: str) -> None:
    data = b'{"a":"' + b"x" * (1 << 20) + b'"}'
    with pytest.raises(ContractError, match=r"expected at most [0-9]+ bytes, got 1048584"):
        read_and_write(kind, data)


CHANNELS = (
    "m",
    "e",
    "a",
    "o",
    "i",
    "twin",
    "cmd",
    "status",
    "health",
    "birth",
    "desired",
    "reported",
    "meta",
)
SEGMENTS = st.sampled_from(
    [
        "",
        "ew",
        "v1",
        "device",
        "dev-1",
        "service",
        "agent",
        *CHANNELS,
        "+",
        "#",
        "..",
        "$SYS",
        "\0",
        "Ä",
        "a\n",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | st.lists(SEGMENTS, max_size=10).map("/".join))
def test_any_text_as_a_topic(text: str) -> None:
    try:
        topic = topics.parse(text)
    except ContractError:
        return
    assert topics.build(topic) == text


@settings(max_examples=300, deadline=None)
@given(st.lists(SEGMENTS, min_size=2, max_size=5), st.integers(0, 4))
def test_texts_that_are_nearly_topics(segments: list[str], place: int) -> None:
    text = "ew/v1/device/" + "/".join([*segments[:place], "dev-1", "", "", *segments[place:]])
    try:
        topic = topics.parse(text)
    except ContractError:
        return
    assert topics.build(topic) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("0123456789abcdef", min_size=63, max_size=65).map("sha256:{}".format))
def test_any_text_as_a_digest(text: str) -> None:
    try:
        assert checked_digest(text, where="d") == text
    except ContractError:
        return
    assert len(text) == 71
    assert not set(text[7:]) - set("0123456789abcdef")
