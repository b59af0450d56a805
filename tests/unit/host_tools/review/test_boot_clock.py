"""When messages were made, by devices whose clocks are right, wrong, set on the way, or missing; live and late."""

from __future__ import annotations

import pytest

from host_tools.review.boot_clock import BootClock, duration
from tests.unit.host_tools.review.telemetry_messages import envelope

START = 1_700_000_000.0


def live(error: float, *, seconds: int = 20, clock: str = "synced", set_at: float = 1e9) -> BootClock:
    """A device that has been up since `START`, heard at once, whose clock is off by so much until it is set."""
    heard = BootClock()
    for second in range(seconds + 1):
        off = error if second < set_at else 0.0
        stamp = envelope(second, time=START + second + off, uptime=float(second), clock=clock)  # type: ignore[arg-type]
        heard.hear(stamp, START + second + 0.05)
    return heard


def at(clock: BootClock, uptime: float, *, says: float) -> float:
    return clock.moment(envelope(0, time=says, uptime=uptime))


@pytest.mark.parametrize("error", [-1e9 + 1, -600.0, 600.0, 7200.0])
def test_a_wrong_clock_is_told_and_not_believed_when_messages_are_live(error: float) -> None:
    clock = live(error)
    assert at(clock, 7.0, says=START + 7.0 + error) == pytest.approx(START + 7.0, abs=0.1)
    assert clock.note.startswith(f"The device's clock is {duration(abs(error))} ")
    assert ("ahead" in clock.note) == (error > 0)


def test_a_clock_that_is_set_on_the_way_leaves_no_jump() -> None:
    clock = live(-7200.0, set_at=10)
    moments = [at(clock, float(second), says=0.0) for second in range(20)]
    assert moments == pytest.approx([START + second for second in range(20)], abs=0.1)
    assert "was 2 h behind until it was set" in clock.note


def test_a_right_clock_is_believed_and_needs_no_words() -> None:
    clock = live(0.3)
    assert at(clock, 7.0, says=START + 7.3) == START + 7.3
    assert clock.note == ""


@pytest.mark.parametrize("interval", [0.1, 1.0, 10.0])
def test_a_spool_that_is_emptied_at_once_does_not_make_its_clock_wrong(interval: float) -> None:
    """Two hours late, all within a second: the device's clock knows, the time of receipt does not."""
    clock = BootClock()
    for number in range(200):
        stamp = envelope(number, time=START + number * interval, uptime=number * interval)
        clock.hear(stamp, START + 200 * interval + 7200.0 + number * 0.005)
    assert at(clock, 5.0, says=START + 5.0) == START + 5.0
    assert clock.note == ""


def test_a_spool_that_is_emptied_before_live_messages_is_placed_with_them() -> None:
    clock = BootClock()
    for number in range(100):  # up for 100 s without a broker, and a clock in 1970 lifted to the floor
        clock.hear(envelope(number, time=5e8 + number, uptime=float(number), clock="floor"), START + 100.0)
    for number in range(100, 130):
        clock.hear(envelope(number, time=5e8 + number, uptime=float(number), clock="floor"), START + number)
    assert at(clock, 3.0, says=5e8 + 3.0) == pytest.approx(START + 3.0)


def test_a_device_without_a_clock_that_was_late_is_placed_by_receipt() -> None:
    clock = BootClock()
    clock.hear(envelope(1, time=5e8, uptime=10.0, clock="floor"), START + 100.0)
    clock.hear(envelope(2, time=5e8 + 50.0, uptime=60.0, clock="floor"), START + 100.0)
    assert at(clock, 60.0, says=5e8 + 50.0) == START + 100.0
    assert at(clock, 10.0, says=5e8) == START + 50.0
    assert "had no clock" in clock.note


def test_a_clock_that_no_service_set_is_told_where_nothing_can_be_held_against_it() -> None:
    clock = live(0.0, seconds=2, clock="unsynced")
    assert "not set by a time service" in clock.note
    assert live(0.0, clock="unsynced").note == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5.4, "5 s"), (600, "10 min"), (7200, "2 h"), (172800, "2 days"), (0.2, "0 s")]
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
