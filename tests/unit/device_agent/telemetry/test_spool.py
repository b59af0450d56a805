from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_agent.telemetry.loss import Loss
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.store import Kind, SpooledMessage, StoreLockedError

LIMITS = SpoolLimits(max_bytes=1 << 20, max_rows=1_000, memory_max_bytes=1 << 16)


Opener = Callable[[Path, SpoolLimits], Spool]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open spools that are closed after the test."""
    spools: list[Spool] = []

    def opener(path: Path, limits: SpoolLimits) -> Spool:
        spools.append(Spool(path, limits))
        return spools[-1]

    yield opener
    for spool in spools:
        spool._store.close()


def payloads(messages: list[SpooledMessage]) -> list[bytes]:
    return [message.payload for message in messages]


def filled(spool: Spool, count: int, kind: Kind = Kind.MEASUREMENT) -> None:
    for number in range(count):
        spool.append(kind, f"t/{kind.name.lower()}", b"%d" % number)
    spool.commit()


def test_nothing_is_handed_out_before_it_is_committed(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    spool.append(Kind.EVENT, "e", b"1")
    assert spool.take(10) == []
    spool.commit()
    assert payloads(spool.take(10)) == [b"1"]


def test_taken_messages_are_not_handed_out_twice_until_released(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    filled(spool, 5)
    assert payloads(spool.take(3)) == [b"0", b"1", b"2"]
    assert payloads(spool.take(9)) == [b"3", b"4"]
    assert spool.take(9) == []
    spool.release()
    assert payloads(spool.take(9)) == [b"0", b"1", b"2", b"3", b"4"]


def test_acknowledged_messages_are_gone_for_ever(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    filled(spool, 4)
    first, _, third, _ = spool.take(4)
    spool.acknowledge(first.id)
    spool.acknowledge(third.id)
    spool.release()
    assert payloads(spool.take(9)) == [b"1", b"3"]
    spool.close()
    again = opened(tmp_path / "spool.db", LIMITS)
    assert payloads(again.take(9)) == [b"1", b"3"]
    assert again.rows == 2


def test_an_acknowledgement_of_something_not_in_flight_is_ignored(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    filled(spool, 1)
    spool.acknowledge(1)
    spool.acknowledge(77)
    assert payloads(spool.take(9)) == [b"0"]


def test_order_is_states_events_and_then_the_rest(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    for kind in (Kind.RESULT, Kind.MEASUREMENT, Kind.EVENT, Kind.STATE):
        spool.append(kind, f"topic/{kind}", kind.name.encode(), retain=kind is Kind.STATE)
    spool.commit()
    taken = spool.take(9)
    assert payloads(taken) == [b"STATE", b"EVENT", b"MEASUREMENT", b"RESULT"]
    assert [message.retain for message in taken] == [True, False, False, False]


def test_a_state_replaces_the_older_one_of_its_topic_wherever_that_is(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    spool.append(Kind.STATE, "health", b"one")
    spool.append(Kind.STATE, "health", b"two")
    spool.append(Kind.STATE, "birth", b"b")
    spool.commit()
    in_flight = spool.take(9)
    assert payloads(in_flight) == [b"two", b"b"]
    spool.append(Kind.STATE, "health", b"three")
    spool.commit()
    spool.acknowledge(in_flight[0].id)  # the late acknowledgement of what was replaced
    spool.commit()
    assert payloads(spool.take(9)) == [b"three"]
    assert spool.rows == 2


def test_when_full_the_oldest_results_go_first_then_measurements_and_events_last(
    tmp_path: Path, opened: Opener
) -> None:
    limits = SpoolLimits(max_bytes=1 << 20, max_rows=4, memory_max_bytes=1 << 16)
    spool = opened(tmp_path / "spool.db", limits)
    for kind in (Kind.EVENT, Kind.MEASUREMENT, Kind.RESULT):
        for number in range(2):
            spool.append(kind, "t", f"{kind.name}{number}".encode())
    spool.commit()
    assert spool.lost_total == Loss(results=2)
    for number in range(3):
        spool.append(Kind.EVENT, "t", f"late{number}".encode())
    spool.commit()
    assert spool.lost_total == Loss(results=2, measurements=2, events=1)
    assert payloads(spool.take(9)) == [b"EVENT1", b"late0", b"late1", b"late2"]


def test_states_are_never_dropped(tmp_path: Path, opened: Opener) -> None:
    limits = SpoolLimits(max_bytes=1 << 20, max_rows=2, memory_max_bytes=1 << 16)
    spool = opened(tmp_path / "spool.db", limits)
    for topic in ("health", "birth", "meta"):
        spool.append(Kind.STATE, topic, b"s")
    filled(spool, 3)
    assert payloads(spool.take(9)) == [b"s"] * 3
    assert spool.lost_total == Loss(measurements=3)


def test_what_is_in_flight_is_spared(tmp_path: Path, opened: Opener) -> None:
    limits = SpoolLimits(max_bytes=1 << 20, max_rows=3, memory_max_bytes=1 << 16)
    spool = opened(tmp_path / "spool.db", limits)
    filled(spool, 3)
    spool.take(1)
    filled(spool, 1)
    spool.release()
    assert payloads(spool.take(9)) == [b"0", b"2", b"0"]


def test_the_loss_is_counted_reported_once_and_survives_a_restart(tmp_path: Path, opened: Opener) -> None:
    limits = SpoolLimits(max_bytes=1 << 20, max_rows=2, memory_max_bytes=1 << 16)
    spool = opened(tmp_path / "spool.db", limits)
    filled(spool, 5)
    spool.close()
    spool = opened(tmp_path / "spool.db", limits)
    loss = spool.unreported_loss
    assert loss == Loss(measurements=3)
    assert loss.total == 3
    spool.loss_reported(loss)
    spool.append(Kind.EVENT, "e", b"lost 3")
    spool.commit()
    assert spool.unreported_loss == Loss(measurements=1)  # the event itself took a place
    spool.close()
    again = opened(tmp_path / "spool.db", limits)
    assert again.unreported_loss == Loss(measurements=1)
    assert again.lost_total == Loss(measurements=4)


@pytest.mark.parametrize("size", [20, 700, 12_000])
def test_the_files_stay_within_the_bound_under_churn(tmp_path: Path, opened: Opener, size: int) -> None:
    limits = SpoolLimits(max_bytes=2 << 20, max_rows=1_000_000, memory_max_bytes=1 << 16)
    spool = opened(tmp_path / "spool.db", limits)
    for turn in range(12):
        for _ in range(max(1, 600_000 // (size + 80))):
            spool.append(Kind.MEASUREMENT, "ew/v1/device/d///m/inference", os.urandom(size))
        spool.commit()
        assert spool.size_bytes <= limits.max_bytes
        if turn % 3 == 0:
            for message in spool.take(20):
                spool.acknowledge(message.id)
            spool.release()
    on_disk = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert on_disk <= limits.max_bytes * 1.15 + (1 << 20) + (1 << 18)
    assert spool.lost_total.measurements > 0


def test_a_second_agent_on_the_same_spool_is_refused(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    with pytest.raises(StoreLockedError, match="another process"):
        opened(tmp_path / "spool.db", LIMITS)
    spool.close()


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to be read as one" * 40, b"SQLite format 3\0" + b"\xff" * 4096],
)
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, opened: Opener, content: bytes) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(content)
    spool = opened(path, LIMITS)
    (notice,) = spool.notices()
    assert notice.code == "spool_set_aside"
    assert str(path) in notice.message
    assert path.with_name("spool.db.damaged").read_bytes() == content
    assert spool.on_disk
    filled(spool, 1)
    assert payloads(spool.take(9)) == [b"0"]
    assert spool.notices() == ()


def test_another_programs_database_is_set_aside(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "spool.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.execute("CREATE TABLE message (something_else TEXT)")
    other.commit()
    other.close()
    spool = opened(path, LIMITS)
    assert [notice.code for notice in spool.notices()] == ["spool_set_aside"]
    filled(spool, 1)
    assert spool.rows == 1


def test_another_programs_database_without_a_version_is_not_written_to(
    tmp_path: Path, opened: Opener
) -> None:
    path = tmp_path / "spool.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()
    before = path.read_bytes()
    spool = opened(path, LIMITS)
    assert [notice.code for notice in spool.notices()] == ["spool_set_aside"]
    assert path.with_name("spool.db.damaged").read_bytes() == before


def test_a_file_that_is_removed_is_made_anew_with_what_it_held(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "d" / "spool.db"
    spool = opened(path, LIMITS)
    filled(spool, 3)
    (in_flight,) = spool.take(1)
    shutil.rmtree(tmp_path / "d")
    assert not spool.return_to_disk()  # not while something is in flight
    spool.acknowledge(in_flight.id)
    assert spool.return_to_disk()
    (notice,) = spool.notices()
    assert notice.code == "spool_on_disk"
    assert "was removed" in notice.message
    filled(spool, 1, Kind.EVENT)
    assert spool.close() == 0
    assert payloads(opened(path, LIMITS).take(9)) == [b"0", b"1", b"2"]


def test_closing_says_how_many_messages_no_disk_took(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "way").write_text("in the way")
    spool = opened(tmp_path / "way" / "spool.db", LIMITS)
    filled(spool, 3)
    spool.take(2)
    assert spool.close() == 3
    again = opened(tmp_path / "way" / "spool.db", LIMITS)
    filled(again, 3)
    (tmp_path / "way").unlink()
    assert again.close() == 0, "the disk is tried once more"
    assert payloads(opened(tmp_path / "way" / "spool.db", LIMITS).take(9)) == [b"0", b"1", b"2"]


def test_a_state_is_unsent_until_it_is_handed_out_and_the_one_it_replaces_is_not(
    tmp_path: Path, opened: Opener
) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    assert not spool.holds_unsent_state("health")
    spool.append(Kind.STATE, "health", b"1")
    spool.commit()
    spool.append(Kind.STATE, "health", b"2")
    assert spool.holds_unsent_state("health")
    assert spool.take(9) == [], "a waiting state replaces it"
    spool.commit()
    assert payloads(spool.take(9)) == [b"2"]
    assert not spool.holds_unsent_state("health")
    spool.release()
    assert not spool.holds_unsent_state("health"), "the broker may have had it"


def test_a_state_in_flight_is_followed_and_not_replaced(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    spool.append(Kind.STATE, "health", b"1")
    spool.commit()
    spool.take(1)
    spool.append(Kind.STATE, "health", b"2")
    spool.commit()
    assert payloads(spool.take(9)) == [b"2"]
    spool.release()
    assert payloads(spool.take(9)) == [b"1", b"2"]
    spool.release()
    spool.append(Kind.STATE, "health", b"3")
    spool.commit()
    assert payloads(spool.take(9)) == [b"3"], (
        "no more than one is ever kept for a link that breaks again and again"
    )


def test_a_state_that_was_sent_from_memory_does_not_come_back_from_the_disk(
    tmp_path: Path, opened: Opener
) -> None:
    disk = opened(tmp_path / "d" / "spool.db", LIMITS)
    disk.append(Kind.STATE, "health", b"old")
    disk.close()
    (tmp_path / "d").rename(tmp_path / "elsewhere")
    (tmp_path / "d").write_text("in the way")
    spool = opened(tmp_path / "d" / "spool.db", LIMITS)
    spool.append(Kind.STATE, "health", b"new")
    spool.commit()
    (new,) = spool.take(9)
    spool.acknowledge(new.id)
    (tmp_path / "d").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "d")
    assert spool.return_to_disk()
    assert spool.take(9) == []


def test_losses_outside_of_the_spool_are_counted_and_told_or_not(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path / "spool.db", LIMITS)
    spool.count_loss(Kind.MEASUREMENT)
    spool.count_loss(Kind.STATE)
    spool.count_loss(Kind.RESULT, tell=False)
    assert spool.lost_total == Loss(measurements=1, events=1, results=1)
    assert spool.unreported_loss == Loss(measurements=1, events=1)


def test_damage_found_while_running_is_set_aside_and_the_waiting_messages_are_kept(
    tmp_path: Path, opened: Opener
) -> None:
    path = tmp_path / "spool.db"
    spool = opened(path, LIMITS)
    for _ in range(20):
        spool.append(Kind.MEASUREMENT, "t", os.urandom(30_000))
    spool.close()
    raw = bytearray(path.read_bytes())
    raw[4096 * 2 :] = os.urandom(len(raw) - 4096 * 2)
    path.write_bytes(raw)
    spool = opened(path, LIMITS)
    spool.append(Kind.EVENT, "e", b"kept")
    taken: list[SpooledMessage] = []
    for _ in range(3):
        taken += spool.take(50)
        spool.commit()
    assert "spool_set_aside" in [notice.code for notice in spool.notices()]
    assert b"kept" in payloads(taken)


def goes_on(path: Path, opened: Opener) -> list[str]:
    """Hold a spool to what it promises whatever the file holds: what is appended is handed out. Return the notices' codes."""
    spool = opened(path, LIMITS)
    spool.append(Kind.STATE, "health", b"state")
    spool.append(Kind.EVENT, "e", b"event")
    taken: list[SpooledMessage] = []
    for _ in range(4):
        taken += spool.take(50)
        for message in taken:
            assert isinstance(message.payload, bytes)
            assert set(message.topic).isdisjoint("+#\0"), (
                "the broker would end the connection, again and again"
            )
            spool.acknowledge(message.id)
        spool.commit()
        spool.return_to_disk()
    assert {b"state", b"event"} <= set(payloads(taken))
    assert spool.on_disk
    assert spool.rows == 0
    spool.append(Kind.MEASUREMENT, "m", b"later")
    spool.commit()
    assert payloads(spool.take(9)) == [b"later"]
    spool.close()
    return [notice.code for notice in spool.notices()]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE message SET topic = 'a/#' WHERE id = 2",
        "UPDATE message SET topic = 'a' || char(0) WHERE id = 2",
        "UPDATE message SET topic = '' WHERE id = 2",
        "UPDATE message SET topic = CAST(x'6480' AS TEXT) WHERE id = 2",
        "UPDATE message SET topic = x'64' WHERE id = 2",
        "UPDATE message SET payload = 7 WHERE id = 2",
        "UPDATE message SET payload = 'text' WHERE id = 2",
        "UPDATE message SET kind = 9 WHERE id = 2",
        "UPDATE message SET kind = 'x' WHERE id = 2",
        "UPDATE message SET id = 9223372036854775807 WHERE id = 2",
        "INSERT INTO counter VALUES ('lost_event', 'many')",
        "INSERT INTO counter VALUES (x'00', 1)",
        "ALTER TABLE message RENAME COLUMN payload TO body",
        "ALTER TABLE message ADD COLUMN more TEXT",
        "ALTER TABLE counter RENAME COLUMN value TO number",
    ],
)
def test_a_file_with_other_contents_than_were_written_is_set_aside(
    tmp_path: Path, opened: Opener, damage: str
) -> None:
    path = tmp_path / "spool.db"
    spool = opened(path, LIMITS)
    filled(spool, 3)
    spool.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(damage)
    assert goes_on(path, opened) == ["spool_set_aside"]


def test_whatever_bytes_flip_in_the_file_messages_go_on(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "spool.db"
    spool = opened(path, LIMITS)
    spool.count_loss(Kind.EVENT)
    for kind in Kind:
        filled(spool, 8, kind)
    spool.close()
    whole = path.read_bytes()
    chance = random.Random(7)
    # Byte 18 says whether the file may be written at all: then messages wait in memory, as for a disk that is read-only.
    used = [place for place, byte in enumerate(whole) if byte and place != 18]
    for number in range(40):
        damaged = bytearray(whole)
        for place in chance.sample(used, 1 + number % 3):
            damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        assert goes_on(path, opened) in ([], ["spool_set_aside"])


def test_a_path_that_cannot_be_a_file_falls_back_to_memory(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = opened(tmp_path / "file" / "spool.db", LIMITS)
    (notice,) = spool.notices()
    assert notice.code == "spool_in_memory"
    assert not spool.on_disk
    filled(spool, 2)
    assert payloads(spool.take(9)) == [b"0", b"1"]


def test_memory_has_its_own_bound_and_goes_back_to_disk(tmp_path: Path, opened: Opener) -> None:
    disk = opened(tmp_path / "d" / "spool.db", LIMITS)
    disk.append(Kind.STATE, "health", b"old")
    filled(disk, 2, Kind.EVENT)
    disk.close()
    (tmp_path / "d").rename(tmp_path / "elsewhere")
    (tmp_path / "d").write_text("in the way")
    spool = opened(tmp_path / "d" / "spool.db", LIMITS)
    spool.append(Kind.STATE, "health", b"new")
    for _ in range(10):
        spool.append(Kind.MEASUREMENT, "t", bytes(10_000))
    spool.commit()
    assert spool.size_bytes <= LIMITS.memory_max_bytes
    kept = 10 - spool.lost_total.measurements
    assert not spool.return_to_disk()
    (tmp_path / "d").unlink()
    assert not (tmp_path / "d").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "d")
    in_flight = spool.take(1)
    assert not spool.return_to_disk()  # not while something is in flight
    spool.release()
    assert in_flight
    assert spool.return_to_disk()
    assert [notice.code for notice in spool.notices()] == ["spool_in_memory", "spool_on_disk"]
    assert payloads(spool.take(99)) == [b"new", b"0", b"1"] + [bytes(10_000)] * kept
    assert spool.return_to_disk()


def test_a_file_that_was_damaged_meanwhile_is_set_aside_on_the_way_back_to_disk(
    tmp_path: Path, opened: Opener
) -> None:
    folder = tmp_path / "d"
    folder.write_text("in the way")
    spool = opened(folder / "spool.db", LIMITS)
    filled(spool, 2)
    folder.unlink()
    folder.mkdir()
    (folder / "spool.db").write_bytes(b"no database" * 1000)
    assert not spool.return_to_disk()
    assert spool.return_to_disk()
    assert [notice.code for notice in spool.notices()] == [
        "spool_in_memory",
        "spool_set_aside",
        "spool_on_disk",
    ]
    assert payloads(spool.take(9)) == [b"0", b"1"]


WRITER = """
import sys
from pathlib import Path
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.store import Kind
spool = Spool(Path(sys.argv[1]), SpoolLimits(max_bytes=1 << 26, max_rows=10**6, memory_max_bytes=1 << 20))
number = 0
while True:
    for _ in range(7):
        spool.append(Kind.MEASUREMENT, "t", b"%d" % number)
        number += 1
    spool.commit()
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines_before_the_kill", [1, 40, 400])
def test_every_committed_message_survives_a_kill(
    tmp_path: Path, opened: Opener, lines_before_the_kill: int
) -> None:
    path = tmp_path / "spool.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _ in range(lines_before_the_kill):
            committed = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        committed = int(rest[-1]) if rest else committed
    spool = opened(path, SpoolLimits(max_bytes=1 << 26, max_rows=10**6, memory_max_bytes=1 << 20))
    assert spool.notices() == ()
    found = [int(payload) for payload in payloads(spool.take(10**6))]
    assert found == list(range(len(found)))
    assert len(found) >= committed


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.store import Kind
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path(sys.argv[1]), SpoolLimits(max_bytes=1 << 24, max_rows=10**6, memory_max_bytes=1 << 18))
spool.append(Kind.EVENT, "e", b"before")
spool.commit()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, resource.RLIM_INFINITY))
for number in range(60):
    spool.append(Kind.MEASUREMENT, "t", bytes(8_000))
    spool.commit()
spool.append(Kind.EVENT, "e", b"during")
spool.commit()
print([notice.code for notice in spool.notices()], spool.on_disk, flush=True)
print([m.payload for m in spool.take(1)], flush=True)
stranded, in_memory = spool.stranded_rows, spool.rows
print(stranded > 1, flush=True)
spool.release()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(spool.return_to_disk(), [notice.code for notice in spool.notices()], flush=True)
print(spool.stranded_rows, spool.rows - in_memory - stranded, flush=True)
everything = spool.take(10**6)
print([m.payload for m in everything if m.kind is Kind.EVENT], flush=True)
print(sum(m.kind is Kind.MEASUREMENT for m in everything) + spool.lost_total.measurements, flush=True)
"""


def test_a_full_disk_is_said_and_nothing_is_lost_unseen(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "spool.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['spool_in_memory'] False",
        "[b'during']",
        "True",
        "True ['spool_on_disk']",
        "0 0",
        "[b'before', b'during']",
        "60",
    ]


class SpoolMachine(RuleBasedStateMachine):
    """Against a plain list: nothing acknowledged comes back, nothing is lost uncounted, the bound holds."""

    limits = SpoolLimits(max_bytes=4_000, max_rows=12, memory_max_bytes=1 << 16, batch_rows=4)

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.db"
        self.spool = Spool(self.path, self.limits)
        self.appended: set[bytes] = set()
        self.uncommitted = 0
        self.acknowledged: set[bytes] = set()
        self.in_flight: list[SpooledMessage] = []

    @rule(kind=st.sampled_from([Kind.EVENT, Kind.MEASUREMENT, Kind.RESULT]), size=st.integers(0, 400))
    def append(self, kind: Kind, size: int) -> None:
        payload = b"%d:" % len(self.appended) + bytes(size)
        self.spool.append(kind, "t", payload)
        self.appended.add(payload)

    @rule()
    def commit(self) -> None:
        self.spool.commit()
        assert self.spool.rows <= self.limits.max_rows
        assert self.spool.size_bytes <= self.limits.max_bytes

    @rule(limit=st.integers(1, 5))
    def take(self, limit: int) -> None:
        taken = self.spool.take(limit)
        assert not {message.payload for message in taken} & self.acknowledged
        assert not {message.id for message in taken} & {message.id for message in self.in_flight}
        self.in_flight += taken

    @rule(which=st.integers(0, 20))
    def acknowledge(self, which: int) -> None:
        if self.in_flight:
            message = self.in_flight.pop(which % len(self.in_flight))
            self.spool.acknowledge(message.id)
            self.acknowledged.add(message.payload)

    @rule()
    def disconnect(self) -> None:
        self.spool.release()
        self.in_flight = []

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path, self.limits)
        self.in_flight = []

    @invariant()
    def everything_is_accounted_for(self) -> None:
        # Acknowledged ones are still rows until the next commit, so count them apart.
        waiting = self.spool.rows - len(self.spool._acknowledged)
        assert len(self.appended) == waiting + len(self.acknowledged) + self.spool.lost_total.total

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()


SpoolMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_spool_machine = SpoolMachine.TestCase
