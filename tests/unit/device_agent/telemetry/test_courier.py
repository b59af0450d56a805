from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.telemetry.courier import Courier, CourierLimits, LinkChange, Refused
from device_agent.telemetry.link import Connected, Delivered, Disconnected
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.telemetry.store import SpooledMessage

NEVER = float("inf")
LIMITS = CourierLimits(
    max_inflight_messages=4,
    max_messages_per_second=10.0,
    reconnect_min_seconds=1.0,
    reconnect_max_seconds=8.0,
    ack_timeout_seconds=30.0,
)


class Line:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[SpooledMessage] = []
        self.ended = ""

    def send(self, message: SpooledMessage) -> None:
        self.sent.append(message)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self, reason: str) -> None:
        self.ended = reason

    def join(self, timeout_seconds: float) -> bool:
        return timeout_seconds >= 0


class Bench:
    def __init__(self, folder: Path, *, jitter: float = 1.0, keep_seconds: float = 0.0) -> None:
        self.spool = Spool(
            folder / "spool.db", SpoolLimits(max_bytes=1 << 20, max_rows=1000, memory_max_bytes=1 << 16)
        )
        self.lines: list[Line] = []
        limits = replace(LIMITS, resend_seconds=keep_seconds)
        self.courier = Courier(
            spool=self.spool, limits=limits, open_connection=self._open, jitter=lambda: jitter
        )

    def _open(self, number: int) -> Line:
        assert number == len(self.lines) + 1
        self.lines.append(Line())
        return self.lines[-1]

    def fill(self, count: int) -> None:
        for number in range(count):
            self.spool.append(Kind.MEASUREMENT, "t", b"%d" % number)
        self.spool.commit()

    def connect(self, now: float) -> Line:
        self.courier.turn(now)
        assert self.courier.handle(Connected(len(self.lines)), now) == LinkChange(connected=True, reason="")
        return self.lines[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.spool.close()


def test_nothing_is_sent_before_the_broker_accepted(bench: Bench) -> None:
    bench.fill(3)
    assert bench.courier.turn(0.0) == NEVER
    assert bench.lines[0].sent == []


def test_no_more_in_flight_than_the_bound_and_the_next_follows_an_acknowledgement(bench: Bench) -> None:
    bench.fill(10)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    assert len(line.sent) == 4
    bench.courier.turn(10.0)
    assert len(line.sent) == 4
    bench.courier.handle(Delivered(1, line.sent[0].id), 10.0)
    bench.courier.turn(10.0)
    assert [message.payload for message in line.sent] == [b"0", b"1", b"2", b"3", b"4"]


def test_the_rate_is_bounded_and_says_when_to_come_back(bench: Bench) -> None:
    bench.fill(100)
    line = bench.connect(0.0)
    now, sent = 0.0, []
    while now < 5.0:
        due = bench.courier.turn(now)
        sent.append((now, len(line.sent)))
        for message in line.sent:
            bench.courier.handle(Delivered(1, message.id), now)
        now = min(max(due, now + 0.001), now + 0.5)
    assert len(line.sent) == pytest.approx(4 + 10 * 5.0, abs=2)


def test_a_connection_that_ends_sends_the_unacknowledged_again_over_the_next(bench: Bench) -> None:
    bench.fill(3)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    bench.courier.handle(Delivered(1, line.sent[1].id), 0.0)
    assert bench.courier.handle(Disconnected(1, "reset"), 1.0) == LinkChange(connected=False, reason="reset")
    assert not bench.courier.connected
    again = bench.connect(3.0)
    bench.courier.turn(3.0)
    assert [message.payload for message in again.sent] == [b"0", b"2"]


def test_reports_of_an_older_connection_change_nothing(bench: Bench) -> None:
    bench.fill(1)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    bench.courier.handle(Disconnected(1, "reset"), 1.0)
    bench.connect(3.0)
    bench.courier.turn(3.0)
    for report in (Delivered(1, line.sent[0].id), Connected(1), Disconnected(1, "again")):
        assert bench.courier.handle(report, 3.0) is None
    assert bench.courier.connected
    bench.spool.commit()
    assert bench.spool.rows == 1


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_connection_that_lasted(bench: Bench) -> None:
    now, pauses = 0.0, []
    for _ in range(6):
        bench.courier.turn(now)
        bench.courier.handle(Disconnected(len(bench.lines), "refused"), now)
        due = bench.courier.turn(now)
        pauses.append(due - now)
        now = due
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 8.0, 8.0])
    bench.fill(1)
    line = bench.connect(now)
    bench.courier.turn(now)
    bench.courier.handle(Delivered(len(bench.lines), line.sent[0].id), now)
    bench.courier.handle(Disconnected(len(bench.lines), "reset"), now + 59.0)
    now += 59.0
    assert bench.courier.turn(now) - now == pytest.approx(8.0), "it delivered, but did not last"
    bench.connect(now + 8.0)
    bench.courier.handle(Disconnected(len(bench.lines), "reset"), now + 68.0)
    now += 68.0
    assert bench.courier.turn(now) - now == pytest.approx(1.0)


def test_connections_that_never_last_are_a_doubt_until_one_does(bench: Bench) -> None:
    now = 0.0
    for round_ in range(3):
        assert bench.courier.doubt == ""
        bench.connect(now)
        bench.courier.handle(Disconnected(len(bench.lines), "Session taken over"), now + 5.0)
        now += 5.0 + 2.0**round_
    assert "another client may use the same mqtt.client_id" in bench.courier.doubt
    assert "Session taken over" in bench.courier.doubt
    bench.connect(now)
    bench.courier.turn(now + 59.0)
    assert bench.courier.doubt
    bench.courier.turn(now + 60.0)
    assert bench.courier.doubt == ""


def test_attempts_that_fail_are_no_doubt(bench: Bench) -> None:
    for number in range(1, 9):
        bench.courier.turn(number * 100.0)
        bench.courier.handle(Disconnected(number, "refused"), number * 100.0)
    assert bench.courier.doubt == ""


def test_a_broker_that_accepts_and_hangs_up_is_not_called_again_and_again(bench: Bench) -> None:
    now, pauses = 0.0, []
    for _ in range(4):
        bench.connect(now)
        bench.courier.handle(Disconnected(len(bench.lines), "hung up"), now)
        due = bench.courier.turn(now)
        pauses.append(due - now)
        now = due
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0])


def test_half_of_a_pause_is_random(tmp_path: Path) -> None:
    bench = Bench(tmp_path, jitter=0.0)
    bench.courier.turn(0.0)
    bench.courier.handle(Disconnected(1, "refused"), 0.0)
    assert bench.courier.turn(0.0) == pytest.approx(0.5)
    bench.spool.close()


def test_a_silent_broker_is_left(bench: Bench) -> None:
    bench.fill(1)
    line = bench.connect(0.0)
    assert bench.courier.turn(0.0) == pytest.approx(30.0)
    bench.courier.turn(30.1)
    assert line.ended == "no acknowledgement within 30 s"


def test_a_refused_message_is_gone_and_said(bench: Bench) -> None:
    bench.fill(1)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    report = Delivered(1, line.sent[0].id, "Not authorized")
    assert bench.courier.handle(report, 0.0) == Refused("t", Kind.MEASUREMENT, "Not authorized")
    bench.spool.commit()
    assert bench.spool.rows == 0


def test_a_message_that_is_refused_for_now_is_kept_and_sent_again_after_a_pause_that_grows(
    bench: Bench,
) -> None:
    bench.fill(6)
    line = bench.connect(0.0)
    now = 0.0
    bench.courier.turn(now)
    for sent in (1, 2, 4):
        pause = float(sent)
        first, *rest = [message.id for message in line.sent[-4:]]
        refusal = Delivered(1, first, "Quota exceeded", may_retry=True)
        assert bench.courier.handle(refusal, now) == Refused(
            "t", Kind.MEASUREMENT, "Quota exceeded", kept=True
        )
        count = len(line.sent)
        bench.courier.turn(now)
        assert len(line.sent) == count, "nothing more while the others are in flight"
        for message_id in rest:
            bench.courier.handle(Delivered(1, message_id, "Quota exceeded", may_retry=True), now)
        assert bench.courier.turn(now) == pytest.approx(now + pause)
        assert bench.courier.turn(now + pause - 0.1) == pytest.approx(now + pause)
        assert len(line.sent) == count
        now += pause
        bench.courier.turn(now)
        assert [message.payload for message in line.sent[-4:]] == [b"0", b"1", b"2", b"3"]
    bench.spool.commit()
    assert bench.spool.rows == 6
    assert bench.spool.lost_total.total == 0


def test_an_abort_ends_without_a_goodbye_and_makes_no_other(bench: Bench) -> None:
    assert bench.courier.abort("before there was one", 0.0)
    bench.courier._closing = False
    line = bench.connect(0.0)
    assert bench.courier.abort("a fault", 0.0)
    assert line.ended == "a fault"
    assert bench.courier.turn(100.0) == NEVER


def test_idle_means_nothing_waits_and_nothing_is_in_flight(bench: Bench) -> None:
    assert bench.courier.idle
    bench.fill(1)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    assert not bench.courier.idle
    bench.courier.handle(Delivered(1, line.sent[0].id), 0.0)
    bench.spool.commit()
    assert bench.courier.idle


def test_closed_it_makes_no_other_connection(bench: Bench) -> None:
    line = bench.connect(0.0)
    assert bench.courier.close(0.0)
    assert line.ended == "closed"
    bench.courier.handle(Disconnected(1, "closed"), 1.0)
    assert bench.courier.turn(100.0) == NEVER
    assert len(bench.lines) == 1


def test_a_refusal_is_told_until_the_broker_accepts_and_an_outage_is_not(bench: Bench) -> None:
    bench.courier.turn(0.0)
    bench.courier.handle(Disconnected(1, "the network is unreachable"), 1.0)
    assert bench.courier.doubt == ""
    bench.courier.turn(10.0)
    bench.courier.handle(Disconnected(2, "refuses our certificate: it was revoked", refused=True), 11.0)
    assert bench.courier.doubt == "refuses our certificate: it was revoked"
    bench.courier.turn(30.0)
    bench.courier.handle(Disconnected(3, "the network is unreachable"), 31.0)
    assert bench.courier.doubt == "refuses our certificate: it was revoked", "nobody has accepted us since"
    bench.connect(60.0)
    assert bench.courier.doubt == ""


# --- keeping what was acknowledged ---


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, keep_seconds=60.0)
    yield made
    made.spool.close()


def payloads(line: Line) -> list[bytes]:
    return [message.payload for message in line.sent]


def test_what_was_acknowledged_of_late_is_sent_again_over_the_next_connection(keeping: Bench) -> None:
    keeping.fill(2)
    line = keeping.connect(0.0)
    keeping.courier.turn(0.0)
    keeping.courier.handle(Delivered(1, line.sent[0].id), 1.0)
    keeping.courier.handle(Delivered(1, line.sent[1].id), 50.0)
    assert keeping.courier.idle
    keeping.courier.turn(61.0)
    keeping.spool.commit()
    assert keeping.spool.rows == 1
    keeping.courier.handle(Disconnected(1, "gone"), 62.0)
    assert not keeping.courier.idle
    second = keeping.connect(70.0)
    keeping.courier.turn(70.0)
    assert payloads(second) == [b"1"]
    keeping.courier.handle(Delivered(2, second.sent[0].id), 71.0)
    keeping.courier.turn(131.0)
    keeping.spool.commit()
    assert keeping.spool.rows == 0


def test_what_nobody_heard_is_sent_again_after_a_pause(keeping: Bench) -> None:
    keeping.fill(1)
    line = keeping.connect(0.0)
    keeping.courier.turn(0.0)
    assert keeping.courier.handle(Delivered(1, line.sent[0].id, unheard=True), 0.0) is None
    assert not keeping.courier.idle
    due = keeping.courier.turn(0.1)
    assert payloads(line) == [b"0"]
    keeping.courier.turn(due)
    assert payloads(line) == [b"0", b"0"]


def test_states_are_not_kept_for_an_older_one_must_not_follow_a_newer(keeping: Bench) -> None:
    keeping.spool.append(Kind.STATE, "status", b"up", retain=True)
    keeping.spool.commit()
    line = keeping.connect(0.0)
    keeping.courier.turn(0.0)
    keeping.courier.handle(Delivered(1, line.sent[0].id, unheard=True), 0.0)
    keeping.spool.commit()
    assert keeping.spool.rows == 0


def test_no_more_than_a_thousand_are_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keep_seconds=1e6)
    line = bench.connect(0.0)
    for turn in range(1002):
        bench.fill(1)
        bench.courier.turn(turn)
        bench.courier.handle(Delivered(1, line.sent[-1].id), turn)
    bench.courier.turn(1002.0)
    bench.spool.commit()
    assert bench.spool.rows == 1000
    bench.spool.close()


def test_without_keeping_what_nobody_heard_is_delivered(bench: Bench) -> None:
    bench.fill(1)
    line = bench.connect(0.0)
    bench.courier.turn(0.0)
    bench.courier.handle(Delivered(1, line.sent[0].id, unheard=True), 0.0)
    bench.spool.commit()
    assert bench.spool.rows == 0
