"""`History`: what each device said, whatever comes from the wire."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.review.history import History
from tests.unit.host_tools.review.telemetry_messages import (
    RECEIVED,
    TOPICS,
    birth,
    deliver,
    delivery,
    envelope,
    event,
    filled,
    health,
    power,
    watts,
    window,
)


def test_messages_are_sorted_by_device_and_kind() -> None:
    device = filled().devices["lab-1"]
    assert device.birth is not None
    assert device.birth.model_name == "net"
    assert device.health is not None
    assert [one.envelope.seq for one in device.inference] == [3, 4, 5, 6, 7, 8]
    assert [event.name for event in device.events] == ["model_loaded"]


def test_a_message_that_comes_twice_counts_once() -> None:
    history = filled()
    deliver(history, window(3))
    assert history.duplicate_count == 1
    assert len(history.devices["lab-1"].inference) == 6


def test_the_same_number_of_another_boot_is_another_message() -> None:
    history = filled()
    deliver(history, window(3, envelope(3, boot="boot-2")))
    assert len(history.devices["lab-1"].inference) == 7


def test_a_bounded_history_keeps_the_latest() -> None:
    history = History(keep=2)
    deliver(history, *(window(seq) for seq in range(5)))
    assert [one.envelope.seq for one in history.devices["lab-1"].inference] == [3, 4]


def test_windows_of_models_and_sides_are_never_put_together() -> None:
    history = History(keep=2)
    for seq in range(0, 12, 3):
        deliver(
            history, window(seq), window(seq + 1, model="main", variant="b"), window(seq + 2, model="gate")
        )
    device = history.devices["lab-1"]
    kept = {name: [one.envelope.seq for one in series] for name, series in device.series.items()}
    assert kept == {"main": [6, 9], "main/b": [7, 10], "gate": [8, 11]}
    assert list(kept) == ["main", "main/b", "gate"]
    assert device.inference == device.inference_of["main"]
    split = deliver(History(), window(1, model="main", variant="b"), window(2, model="main", variant="a"))
    assert [one.envelope.seq for one in split.devices["lab-1"].inference] == [2]


def test_models_without_number_do_not_fill_the_memory() -> None:
    history = deliver(History(), *(window(seq, model=f"m{seq}") for seq in range(1, 70)))
    assert len(history.devices["lab-1"].inference_of) == 64
    assert history.refused_count == 5
    assert "yet another model" in history.refused[0][1]


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


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;PWNED\x07\x1b[2Jred",
        "c1 \x9b2J",
        "turned \u202egnp.exe",
        "two\nlines\tand\u2028more",
        "del\x7f",
    ],
)
def test_text_from_the_wire_cannot_command_a_terminal(text: str) -> None:
    history = deliver(
        History(),
        birth(1, model=text, engine=text),
        health(2, "degraded", text),
        event(3, text),
        power(4, watts(1.0, scope=text)),
    )
    device = history.devices["lab-1"]
    assert device.birth is not None
    assert device.health is not None
    shown = [
        device.birth.model_name or "",
        device.birth.engine or "",
        device.health.reason,
        device.events[0].text,
        device.power[0].readings[0].scope,
    ]
    for one in shown:
        assert one
        assert one.isprintable()
        assert not any("\u202a" <= character <= "\u202e" for character in one)


def test_what_is_not_understood_is_told_harmlessly() -> None:
    history = History()
    history.add(delivery("ew/v1/\x1b[2J\x9b", b"{}"))
    history.add(delivery(TOPICS.health(), b'{"schema_version": "\\u001b[2J"}'))
    assert history.refused_count == 2
    assert all(text.isprintable() for pair in history.refused for text in pair)


def test_a_hole_in_the_numbers_is_counted() -> None:
    history = deliver(History(), window(5), window(6), window(9), window(7), health(12))
    assert history.devices["lab-1"].missing_count == 3  # 8, 10, 11


def test_results_and_retained_messages_and_the_farewell_make_no_hole() -> None:
    history = deliver(History(), birth(1), health(2), retained=True)
    deliver(history, window(100), window(102))
    history.add(delivery(TOPICS.results(), b'{"schema_version":"1.0","boot_id":"boot-1","seq":101}'))
    deliver(history, health(0, "down", "stopped"))
    device = history.devices["lab-1"]
    assert device.missing_count == 0
    assert device.health is not None
    assert device.health.status == "down"


def test_a_state_that_comes_again_is_the_latest_and_no_duplicate() -> None:
    history = deliver(History(), health(3, "up"), health(3, "degraded", "hot"))
    device = history.devices["lab-1"]
    assert device.health is not None
    assert device.health.status == "degraded"
    assert history.duplicate_count == 0


@pytest.mark.parametrize("clock_error", [-600.0, 0.0, 600.0, 1e8])
def test_silence_is_by_the_clock_that_receives(clock_error: float) -> None:
    history = deliver(History(), health(1), received=RECEIVED)
    stamp = envelope(2, time=RECEIVED + clock_error)
    device = deliver(history, window(2, stamp), received=RECEIVED).devices["lab-1"]
    assert device.silent_seconds(RECEIVED + 30.0) is None
    assert device.silent_seconds(RECEIVED + 90.0) == 90.0


@pytest.mark.parametrize("status", ["up", "degraded", "draining"])
def test_a_device_that_stopped_in_any_state_is_silent(status: str) -> None:
    device = deliver(History(), health(1, status), received=RECEIVED).devices["lab-1"]  # type: ignore[arg-type]
    assert device.silent_seconds(RECEIVED + 90.0) == 90.0


def test_a_device_that_said_goodbye_is_not_silent_but_down() -> None:
    device = deliver(History(), health(0, "down"), received=RECEIVED).devices["lab-1"]
    assert device.silent_seconds(RECEIVED + 1e6) is None


def test_what_the_broker_kept_is_no_sign_of_life() -> None:
    device = deliver(History(), birth(1), health(2), received=RECEIVED, retained=True).devices["lab-1"]
    assert device.last_heard is None
    assert device.silent_seconds(RECEIVED + 90.0) == 90.0
