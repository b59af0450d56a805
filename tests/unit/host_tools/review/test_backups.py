"""Copies that are made while a store is written: when, how many, and what is told when none can be made."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from host_tools.review.ingest import backups
from host_tools.review.ingest.backups import Backups
from host_tools.review.ingest.settings import BackupSettings
from host_tools.review.store.opening import open_store
from host_tools.review.store.telemetry_store import TelemetryStore
from tests.unit.host_tools.review.store.stored_messages import batch_of, event, stamp


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(store: TelemetryStore, folder: Path, *, every: float = 3600.0, kept: int = 2) -> Backups:
    """Look once whether a copy is due, and wait for it."""
    found = Backups(store, BackupSettings(folder=str(folder), every_seconds=every, kept=kept))
    found.keep_up()
    found.finish()
    return found


def test_a_copy_is_made_when_the_newest_is_old_enough_and_the_oldest_go(tmp_path: Path) -> None:
    folder, store = tmp_path / "made" / "backups", open_store(tmp_path / "a.duckdb", threads=1)
    store.write(batch_of([event(stamp("a", "boot", 1, 1.0))]))
    assert made(store, folder).note is None
    (first,) = copies(folder)
    made(store, folder)
    assert copies(folder) == [first], "an hour has not passed"
    for name in ("telemetry-20200101T000000Z.duckdb", "notes.txt", "telemetry-20200101T000000Z.duckdb.part"):
        (folder / name).write_text("x")
    time.sleep(1.1)  # names tell seconds
    made(store, folder, every=0.5)
    assert len(copies(folder)) == 3
    assert copies(folder)[0] == "notes.txt", "what is not its own stays"
    assert copies(folder)[1] == first
    store.close()
    copy = open_store(folder / copies(folder)[2], read_only=True)
    assert [device.device for device in copy.devices()] == ["a"]
    copy.close()


def test_one_that_is_kept_going_makes_the_next_by_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a.duckdb", threads=1)
    going = Backups(store, BackupSettings(folder=str(tmp_path / "b"), every_seconds=0.1, kept=1))
    seen: set[str] = set()
    end = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < end:
        going.keep_up()
        going.finish()
        seen.update(copies(tmp_path / "b"))
        assert len(copies(tmp_path / "b")) == 1
        time.sleep(0.2)
    assert len(seen) >= 3
    store.close()


def test_what_stands_in_the_way_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_RETRY_SECONDS", 0.0)
    store, folder = open_store(tmp_path / "a.duckdb", threads=1), tmp_path / "folder"
    folder.write_text("a file")
    going = made(store, folder)
    assert going.note is not None
    assert going.note.code == "backup"
    assert str(folder) in going.note.text
    folder.unlink()
    going.keep_up()
    going.finish()
    assert going.note is None
    assert len(copies(folder)) == 1
    assert store.write(batch_of([event(stamp("a", "boot", 1, 1.0))])).messages == 1
    store.close()
