"""The live view at every width and height, with everything that a wire may bring."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from host_tools.review.device_lines import sparkline
from host_tools.review.device_numbers import hottest_celsius, latest_pss_bytes, short
from host_tools.review.history import History
from host_tools.review.watch import live_table
from tests.unit.host_tools.review.telemetry_messages import (
    battery_watts,
    birth,
    deliver,
    delivery,
    envelope,
    event,
    filled,
    health,
    joules,
    power,
    system,
    thermal,
    watts,
    window,
)

NOW = 1_700_000_020.0
NUMBERS = ("4.00", "25%", "77.0", "55.2", "12.0 package_0")


def drawn(history: History, *, width: int, height: int = 1000, now: float = NOW) -> str:
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
    )
    console.print(live_table(history, now=now))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def measured() -> History:
    """A device with a number in every column; its memory was read some samples ago."""
    history = deliver(filled(), system(11, pss_bytes=77 << 20), system(12, pss_bytes=None))
    return deliver(history, power(13, joules(0.0)), power(14, joules(12.0)))


def fleet(count: int, *, ill: int = 0) -> History:
    history = History()
    for number in range(count):
        status = "degraded" if number >= count - ill else "up"
        for message, channel in (
            (health(1, status), "service/agent/status/health"),
            (window(2), "//m/inference"),
        ):  # type: ignore[arg-type]
            from device_agent.contract.telemetry.codec import encode

            topic = f"ew/v1/device/dev-{number}/{channel}"
            history.add(delivery(topic, encode(message), received=NOW))
    return history


@pytest.mark.parametrize("width", [80, 100, 120, 159, 160, 200])
def test_every_number_can_be_read_whole(width: int) -> None:
    text = drawn(measured(), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for number in NUMBERS:
        assert number in text
    for heading in ("p50 ms", "p95 ms", "p99 ms", "Inf/s", "PSS MiB", "Power W"):
        assert heading in text


@pytest.mark.parametrize("width", [80, 159, 160, 200])
def test_several_models_have_a_line_each(width: int) -> None:
    history = deliver(measured(), window(21, model="main"), window(150, model="gate", variant="b"))
    lines = drawn(history, width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    (gate,) = [line for line in lines if "gate/b" in line]
    numbers = gate.split()[:-1] if width < 160 else gate.split()[1:]
    assert numbers == ["4.00", "4.00", "4.00", "1.00", "0", "0"]
    assert len([line for line in lines if re.search(r"(^|  )main$|^  main ", line)]) == 1
    alone = drawn(deliver(measured(), window(21, model="main")), width=width)
    assert "main" not in alone.replace("domain", "")


def test_numbers_stand_below_their_headings_at_80_columns() -> None:
    heading, identity, numbers = drawn(measured(), width=80).splitlines()[:3]
    assert identity.startswith("lab-1  up  net 1.0.0")
    for name, number in (("p50 ms", "4.00"), ("CPU", "25%"), ("PSS MiB", "77.0"), ("°C", "55.2")):
        end = heading.index(name) + len(name)
        assert numbers[:end].endswith(number)


@pytest.mark.parametrize("width", [80, 200])
def test_a_battery_beside_a_rail_has_its_name_and_sign(width: int) -> None:
    text = drawn(deliver(filled(), power(11, watts(4.0), battery_watts(-18.0))), width=width)
    assert "4.00 VDD_IN" in text
    assert "−18.0 W from battery" in text
    assert "+18.0 W into battery" in drawn(deliver(filled(), power(11, battery_watts(18.0))), width=width)


@pytest.mark.parametrize("width", [80, 200])
def test_markup_and_escapes_from_the_wire_are_text(width: int) -> None:
    evil = "[/red][bold]x[link=y]"
    history = deliver(
        History(),
        birth(1, model=evil, engine="[/]"),
        health(2, "degraded", evil),
        event(3, "\x1b]0;PWNED\x07\x1b[2J[/red]"),
        power(4, watts(1.0, scope=f"rail:{evil[:8]}")),
    )
    history.add(delivery("ew/v1/[/red]\x1b[2J", b"x"))
    text = drawn(history, width=width)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert evil in text
    assert "1 message not understood" in text


def test_a_silent_device_is_told_and_one_that_stopped_is_dim() -> None:
    assert "silent for 8 min" in drawn(filled(), width=80, now=NOW + 500.0)
    assert "silent" not in drawn(filled(), width=80)
    assert "silent" not in drawn(deliver(filled(), health(0, "down", "stopped")), width=80, now=NOW + 500.0)


def test_what_only_the_broker_kept_is_told() -> None:
    history = deliver(History(), birth(1), health(2), retained=True)
    assert "lab-1  up  by what the broker kept" in drawn(history, width=80)


def test_missing_messages_and_warnings_are_told() -> None:
    assert "3 messages sent and never heard" in drawn(deliver(filled(), window(14)), width=80)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(live_table(History(), warnings=["5 messages were thrown away."]))
    text = console.export_text()
    assert "No device has spoken yet." in text
    assert "5 messages were thrown away." in text


def test_a_fleet_that_does_not_fit_shows_first_who_needs_care() -> None:
    text = drawn(fleet(40, ill=2), width=80, height=24)
    assert len(text.splitlines()) <= 24
    assert "dev-38" in text
    assert "dev-39" in text
    assert re.search(r"… and \d+ more devices, 0 of them not well", text)


def test_long_reasons_and_many_events_leave_room_for_devices() -> None:
    history = deliver(filled(), health(11, "degraded", "long " * 200))
    deliver(history, *(event(20 + number, "word " * 200) for number in range(20)))
    lines = drawn(history, width=80, height=24).splitlines()
    assert len(lines) <= 24
    assert "lab-1" in lines[1]


def test_an_event_shows_when_it_happened_not_what_the_device_thinks() -> None:
    history = History()
    for second in range(20):
        stamp = envelope(second, time=NOW + second - 7200.0, uptime=float(second), clock="unsynced")
        deliver(history, window(second, stamp), received=NOW + second)
    stamp = envelope(20, time=NOW + 20 - 7200.0, uptime=20.0, clock="unsynced")
    deliver(history, event(20, "x", stamp), received=NOW + 20)
    expected = time.strftime("%m-%d %H:%M", time.localtime(NOW + 20))
    assert expected in drawn(history, width=80)


def test_memory_is_the_last_that_was_read() -> None:
    samples = [system(1, pss_bytes=5), system(2, pss_bytes=7), system(3, pss_bytes=None)]
    assert latest_pss_bytes(samples) == 7
    assert latest_pss_bytes([]) is None


def test_the_hottest_reading_counts() -> None:
    assert hottest_celsius(thermal(0)) == 55.25


def test_sparkline_spans_lowest_to_highest() -> None:
    assert sparkline([1.0, None, 2.0]) == "▁ █"
    assert sparkline([None]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0.00"), (9.876, "9.88"), (98.76, "98.8"), (9876.5, "9876"), (1.5e9, "2e9")],
)
def test_numbers_keep_their_columns(value: float | None, shown: str) -> None:
    assert short(value) == shown
