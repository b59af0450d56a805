"""A store in a file, and what befalls files: killed writers, full disks, damage, a second process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from host_tools.cli.main import main
from host_tools.errors import StoreDamagedError, StoreError
from host_tools.review.store.opening import open_store
from host_tools.review.store.tables import Batch
from host_tools.review.store.windows import Level, Selection
from tests.unit.host_tools.review.store.stored_messages import (
    EPOCH,
    Said,
    batch_of,
    event,
    inference,
    sample,
    stamp,
)

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

ALL = Selection(start=EPOCH - 600.0, end=EPOCH + 20_000.0)
BATCHES = 40
KILLS = 4
WRITER = """
import sys
from pathlib import Path
from host_tools.review.store.opening import open_store
from tests.integration.test_store_faults import BATCHES, batch
store = open_store(Path(sys.argv[1]), threads=1)
end = int(sys.argv[3])
for number in range(int(sys.argv[2]), end):
    store.write(batch(number))
    print("committed", number, flush=True)
    if number % 3 == 0:
        store.roll_up()
while end < BATCHES:  # it is to be killed, however late whoever kills it comes
    store.roll_up()
store.roll_up()
print("done", flush=True)
"""


def batch(number: int) -> Batch:
    said: list[Said] = []
    for device in range(5):
        seq = 1 + 3 * number
        said.append(
            inference(
                stamp(f"d{device}", "boot", seq, 10.0 * number + 5), total=5 * number + 5, errors=number
            )
        )
        said.append(
            sample(stamp(f"d{device}", "boot", seq + 1, 10.0 * number + 5.1), "thermal", cpu_celsius=40.0)
        )
        said.append(event(stamp(f"d{device}", "boot", seq + 2, 10.0 * number + 5.2)))
    return batch_of(said)


def test_a_writer_that_is_killed_loses_nothing_that_it_committed_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed while it writes and rolls up; what was not committed is delivered again, and some that was."""
    chance = random.Random(7)
    path, committed, kills = tmp_path / "killed.duckdb", 0, 0
    while True:
        begin = max(0, committed - 2)  # an acknowledgement may be lost
        deaths = chance.randint(2, 9)
        end = begin + deaths + 2 if kills < KILLS else BATCHES
        command = [sys.executable, "-c", WRITER, str(path), str(begin), str(end)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if line.startswith("committed"):
                    committed = max(committed, int(line.split()[1]) + 1)
                    deaths -= 1
                if deaths == 0 and kills < KILLS:
                    time.sleep(chance.uniform(0.0, 0.03))
                    os.kill(writer.pid, signal.SIGKILL)
                    kills += 1
        if writer.returncode == 0:
            break
    assert kills == KILLS
    store = open_store(path, threads=1)
    store.roll_up()
    windows = store.windows(ALL, level=Level.SECONDS_10, by=())
    assert windows.inferences.tolist() == [5 * 5 * BATCHES]
    assert windows.latency_count.tolist() == [5 * 5 * BATCHES]
    assert windows.errors.tolist() == [5 * (BATCHES - 1)]
    assert windows.celsius_count.tolist() == [5 * BATCHES]
    assert windows.gaps.tolist() == [0]
    assert len(store.events(ALL, limit=10_000)) == 5 * BATCHES
    assert store.windows(ALL, level=Level.DAY, by=("device",)).inferences.tolist() == [5 * BATCHES] * 5
    assert store.write(batch(0)).duplicates == 15
    store.close()


def test_a_second_process_is_told_that_a_first_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.duckdb"
    store = open_store(path)
    store.write(batch(0))
    script = "import sys\nfrom host_tools.review.store.opening import open_store\nopen_store(sys.argv[1])"
    other = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert "StoreInUseError" in other.stderr
    assert "one process at a time" in other.stderr
    assert store.write(batch(1)).messages == 15
    store.close()


def test_a_backup_is_of_one_moment_and_opens_as_a_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "live.duckdb")
    store.write(batch(0))
    store.roll_up()
    store.backup(tmp_path / "copy.duckdb")
    store.write(batch(1))
    with pytest.raises(StoreError, match="already"):
        store.backup(tmp_path / "copy.duckdb")
    with pytest.raises(StoreError, match="folder"):
        store.backup(tmp_path / "no" / "folder" / "copy.duckdb")
    store.close()
    copy = open_store(tmp_path / "copy.duckdb")
    assert copy.windows(ALL, level=Level.MINUTE, by=()).inferences.tolist() == [25]
    assert [copy.write(batch(number)).messages for number in (0, 1)] == [0, 15]
    copy.close()


def test_what_is_no_store_or_a_newer_one_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "some.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="no store of telemetry"):
        open_store(path)
    assert path.read_bytes() == b"not a database" * 1000
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE something (a INT)")
    with pytest.raises(StoreError, match="SQLite") as told:
        open_store(path)
    assert "http" not in str(told.value), "no code is fetched from the network for it"
    path.unlink()
    store = open_store(path)
    store._engine.alter("UPDATE setting SET \"value\" = '99' WHERE \"name\" = 'schema_version'")
    store.close()
    with pytest.raises(StoreError, match=r"newer Edgewright.*schema 99"):
        open_store(path)
    with pytest.raises(StoreError, match="folder"):
        open_store(tmp_path / "no" / "folder" / "a.duckdb")


def test_a_damaged_file_is_an_error_and_no_crash(tmp_path: Path) -> None:
    whole = tmp_path / "whole.duckdb"
    store = open_store(whole, threads=1)
    for number in range(20):
        store.write(batch(number))
    store.roll_up()
    store._engine.compact()
    store.close()
    data = whole.read_bytes()
    script = """
import sys
from host_tools.errors import StoreError
from host_tools.review.store.windows import Level, Selection
from host_tools.review.store.opening import open_store
for path in sys.argv[1:]:
    try:
        store = open_store(path, threads=1)
        store.windows(Selection(start=0.0, end=2e9), level=Level.SECONDS_10, by=("device", "time"))
        store.close()
        print("whole")
    except StoreError as error:
        print("StoreError", error)
"""
    chance = random.Random(3)
    paths = []
    for number, cut in enumerate([0.3, 0.5, *([1.0] * 4)]):
        damaged = bytearray(data[: int(len(data) * cut)])
        if cut == 1.0:
            place = chance.randrange(12_288, len(damaged) - 4096)
            damaged[place : place + 4096] = chance.randbytes(4096)
        path = tmp_path / f"damaged-{number}.duckdb"
        path.write_bytes(damaged)
        paths.append(str(path))
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert [line.split()[0] for line in told[:2]] == ["StoreError"] * 2
    assert all("restore a backup" in line for line in told if line != "whole")
    assert len(told) == len(paths)  # damage may lie where nothing is


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_taken_away_is_not_written_any_more(tmp_path: Path, *, replaced: bool) -> None:
    store = open_store(tmp_path / "telemetry.duckdb", threads=1)
    store.write(batch(0))
    (tmp_path / "telemetry.duckdb").rename(tmp_path / "moved.duckdb")
    if replaced:
        (tmp_path / "telemetry.duckdb").write_bytes(b"another")
    with pytest.raises(StoreDamagedError, match="was removed, or another one is in its place"):
        store.write(batch(1))
    (tmp_path / "moved.duckdb").rename(tmp_path / "telemetry.duckdb")
    assert store.write(batch(1)).messages == 15
    store.close()


FULL = """
import sys
from pathlib import Path
from host_tools.errors import StoreError
from host_tools.review.store.opening import open_store
from tests.integration.test_store_faults import batch, ALL
from host_tools.review.store.windows import Level
disk = Path(sys.argv[1])
store = open_store(disk / "full.duckdb", threads=1, memory_bytes=200 << 20)
store.write(batch(0))
filler, block = disk / "filler", bytes(1 << 16)
with filler.open("wb") as file:
    try:
        while True:
            file.write(block); file.flush()
    except OSError:
        pass
committed, number = 1, 1
try:
    while number < 4000:
        store.write(batch(number)); committed += 1; number += 1
except StoreError as error:
    print("told", error)
filler.unlink()
while number < committed + 5:
    store.write(batch(number)); number += 1
store.roll_up()
print("inferences", int(store.windows(ALL, level=Level.DAY, by=()).inferences[0]), 25 * number)
store.close()
store = open_store(disk / "full.duckdb", threads=1)
print("again", int(store.windows(ALL, level=Level.DAY, by=()).inferences[0]), 25 * number)
"""


def test_a_full_disk_is_told_and_work_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    command = f'mount -t tmpfs -o size=12m none "$0" && exec {sys.executable} -c "$1" "$0"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", command, str(tmp_path), FULL],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, found, again = done.stdout.splitlines()
    assert told.startswith("told")
    assert "Make room" in told
    for line in (found, again):
        _, inferences, expected = line.split()
        assert inferences == expected


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        (
            "postgres://me:secret@host/db",
            2,
            "expected a DuckDB file, or an address that begins with clickhouse://",
        ),
        ("clickhouse://me:secret@host:70000/x", 2, "a port from 1 to 65535"),
        ("clickhouse://me:secret@host/net-works", 2, "the name of a database has letters, digits and _"),
        ("chdb:nowhere", 7, "no such folder"),
        ("clickhouse://me:secret@127.0.0.1:9/x", 7, "127.0.0.1:9/x: Failed to establish a new connection"),
        ("clickhouse://:9", 7, "clickhouse://localhost:9/edgewright: Failed to establish a new connection"),
        ("foreign.duckdb", 7, "no store of telemetry in it"),
        (".", 7, ".: this is a folder, and a store of telemetry is a file"),
        ("/dev/null", 7, "/dev/null: this is no file"),
        ("", 2, "The store's address is empty: expected a DuckDB file"),
        ("n" * 300, 7, "File name too long. Give another path"),
        ("foreign.duckdb/x", 7, "foreign.duckdb/x: Not a directory. Give another path"),
        ("none.duckdb", 7, "none.duckdb: there is no such file. `edgewright ingest --store` makes one"),
    ],
)
def test_an_address_where_nothing_can_be_read_is_told_in_one_line(
    address: str,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    duckdb.connect("foreign.duckdb").sql("CREATE TABLE something (a INT)")
    assert main(["review", "weekly", "--store", address]) == status
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert "secret" not in line
    assert [one.name for one in tmp_path.iterdir()] == ["foreign.duckdb"]


def test_what_aborts_a_transaction_is_told_and_not_that_it_was_aborted(tmp_path: Path) -> None:
    store = open_store(tmp_path / "telemetry.duckdb")
    rows = pa.table({"name": ["one"], "value": pa.array([None], pa.string())})
    with pytest.raises(StoreError, match="NOT NULL"), store._engine.transaction():
        store._engine.append("setting", rows)
    store.close()
