"""What every store can do: each test holds for all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_tools.errors import StoreError
from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.engine import ASKED
from host_tools.review.store.schema import SCHEMA_VERSION
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.windows import Level, Selection
from tests.unit.host_tools.review.store.opened_stores import STORES, Opener
from tests.unit.host_tools.review.store.stored_messages import (
    DIGESTS,
    EPOCH,
    Said,
    alarm,
    batch_of,
    birth,
    dead_letter,
    event,
    health,
    inference,
    sample,
    stamp,
)

HOUR = Selection(start=EPOCH - 60.0, end=EPOCH + 3600.0)
every_store = pytest.mark.parametrize("opened", STORES)


def filled(store: ColumnStore) -> None:
    said: list[Said] = []
    for device, target in (("a", "pi5"), ("b", "pi5"), ("c", "x86")):
        said += [birth(stamp(device, "boot", 1, 0.5), target), health(stamp(device, "boot", 2, 0.6))]
        for window in range(1, 4):
            said.append(
                inference(
                    stamp(device, "boot", 2 * window + 1, 10.0 * window), total=5 * window, errors=window
                )
            )
            said.append(
                sample(
                    stamp(device, "boot", 2 * window + 2, 10.0 * window + 0.1),
                    "thermal",
                    cpu_celsius=40.0 + window,
                )
            )
    written = store.write(batch_of(said))
    assert (written.messages, written.duplicates, written.dead_letters) == (24, 0, 0)
    store.roll_up()


@every_store
def test_what_is_kept_of_devices_events_and_the_rest(opened: Opener) -> None:
    with opened() as store:
        filled(store)
        _duplicates_and_kept_states(store)
        _devices_and_labels(store)
        _events(store)
        _readings(store)
        _messages(store)
        _outputs(store)
        store.write(batch_of([dead_letter(EPOCH), dead_letter(EPOCH + 1.0, "too large")]))
        letters = store.dead_letters()
        assert [one.reason for one in letters] == ["too large", "not JSON"]
        assert letters[0].payload == b"\x00{"


def _duplicates_and_kept_states(store: ColumnStore) -> None:
    again = [
        inference(stamp("a", "boot", 3, 10.0), total=5, errors=1),
        health(stamp("a", "boot", 2, 0.6, retained=True)),
    ]
    assert store.write(batch_of(again)).duplicates == 2
    # A message with many rows, twice in a row in one batch, and a number that another message has.
    many = sample(stamp("a", "boot", 9, 40.0), "system", cpu_ratio=0.5, process_rss_bytes=7.0)
    written = store.write(batch_of([many, many]))
    assert written.messages == 1
    # What a broker kept is taken once, and its number is not missed before it.
    kept = [health(stamp("d", "boot", 77, 5.0, retained=True), "degraded", "hot")]
    assert [store.write(batch_of(kept)).messages for _ in range(2)] == [1, 0]
    # The last will has number 0, was written at the beginning, and counts when it comes.
    will = health(stamp("c", "boot", 0, 0.1, received=EPOCH + 500.0), "down", "connection lost")
    assert [store.write(batch_of([will])).messages for _ in range(2)] == [1, 0]
    assert store.write(batch_of([Said("other", stamp("b", "boot", 12, 50.0))])).messages == 1


def _devices_and_labels(store: ColumnStore) -> None:
    found = {one.device: one for one in store.devices()}
    assert list(found) == ["a", "b", "c", "d"]
    assert (found["c"].status, found["c"].reason) == ("down", "connection lost")
    assert (found["d"].status, np.isnan(found["d"].last_received)) == ("degraded", True)
    assert found["b"].missing == 3  # 9, 10 and 11
    assert found["a"].artifact == DIGESTS[0]
    assert dict(found["a"].labels)["target"] == "pi5"
    assert dict(found["a"].labels)["machine"] == "aarch64"
    store.label({"a": {"site": "north", "target": "mine"}, "unheard": {"site": "north"}})
    assert [one.device for one in store.devices(labels=[("site", "north")])] == ["a"]
    for by in (("label:target",), ("label:target", "time")):
        for _ in range(2):  # before the fleets' windows are made anew, and after
            windows = store.windows(HOUR, level=Level.HOUR, by=by)
            assert windows.key("label:target").tolist() == ["mine", "pi5", "x86"]
            assert windows.devices.tolist() == [1, 1, 1]
            assert windows.errors.tolist() == [3, 3, 3]
            store.roll_up()
    only = Selection(start=HOUR.start, end=HOUR.end, labels=(("site", "north"),))
    assert store.windows(only, level=Level.MINUTE, by=()).inferences.tolist() == [15]
    store.label({"a": {"target": ""}})
    assert dict(store.devices(labels=[("site", "north")])[0].labels)["target"] == "pi5"


def _events(store: ColumnStore) -> None:
    raised = alarm(stamp("a", "boot", 10, 60.0), "hot", "error")
    over = stamp("a", "", -1, 0.0, made=EPOCH + 70.0)
    store.write(batch_of([event(stamp("b", "boot", 10, 55.0)), raised]))
    assert [store.write(batch_of([alarm(over, "hot", "cleared")])).messages for _ in range(2)] == [1, 0]
    found = store.events(HOUR)
    assert [one.time for one in found] == sorted(one.time for one in found)
    assert [(one.kind, one.name) for one in found[-5:]] == [
        ("health", "degraded") if one.device == "d" else (one.kind, one.name) for one in found[-5:]
    ]
    assert [(one.device, one.severity) for one in store.events(HOUR, names=["hot"])] == [
        ("a", "error"),
        ("a", "cleared"),
    ]
    assert [one.name for one in store.events(HOUR, limit=1)] == ["down"]
    assert store.events(HOUR, names=["it's'; DROP TABLE event"]) == ()


def _readings(store: ColumnStore) -> None:
    only = Selection(start=HOUR.start, end=HOUR.end, devices=("a",))
    (series,) = store.readings(only, names=["cpu_celsius"])
    assert series.values.tolist() == [41.0, 42.0, 43.0]
    (thinned,) = store.readings(only, names=["cpu_celsius"], points=1)
    assert thinned.values.tolist() == [42.0]
    assert store.artifacts(HOUR) == (DIGESTS[0],)


def _messages(store: ColumnStore) -> None:
    only = Selection(start=HOUR.start, end=EPOCH + 35.0, devices=("b",))
    said = store.messages(only)
    assert len(said) == 6
    assert said.seq.tolist() == [3, 4, 5, 6, 7, 8]
    assert np.allclose(said.received - said.moment, 0.1)
    assert np.allclose(said.uptime_seconds, [10.0, 10.1, 20.0, 20.1, 30.0, 30.1])
    assert len(set(said.run.tolist())) == 1
    assert np.isnan(said.window_seconds).tolist() == [False, True] * 3
    assert said.frames_total.tolist() == [6, -1, 12, -1, 18, -1]
    assert not len(store.messages(Selection(start=HOUR.start, end=HOUR.end, devices=("nobody",))))


def _outputs(store: ColumnStore) -> None:
    rows = tuple({"frame": "f", "latency_seconds": 0.01, "name": name, "top_index": index, "top_value": value}
                 for name, index, value in (("y", 3, 0.97), ("z", None, None)))  # fmt: skip
    store.write(batch_of([Said("output", stamp("a", "boot", 20 + n, 61.0 + n), rows) for n in range(2)]))
    table = store.outputs(HOUR, level=Level.HOUR, by=("device",))
    assert table.name.tolist() == ["y", "z"]
    assert table.top_index.tolist() == [3, -1]
    assert table.count.tolist() == [2, 2]
    assert table.confidence[0].tolist() == [0] * 19 + [2]


@every_store
def test_windows_stay_as_they_are_when_what_they_were_made_of_goes(opened: Opener) -> None:
    with opened() as store:
        filled(store)
        before = store.windows(HOUR, level=Level.HOUR, by=("device",))
        kept = Retention(messages_days=0.0, seconds_10_days=0.0, minute_days=0.0, events_days=0.0)
        assert store.retain(kept, now=EPOCH + 3600.0) > 0
        assert len(store.windows(HOUR, level=Level.MINUTE, by=("time",)).inferences) == 0
        # Late: a window between two that went, and the one after them. The first was counted by its successor.
        late = [inference(stamp("a", "boot", 4000, 35.0), total=25, errors=3, counts={-200: 1})]
        late.append(inference(stamp("b", "boot", 2, 15.0), total=7, errors=1, counts={-100: 2}))
        store.write(batch_of([late[0], Said("inference", {**late[1].envelope, "seq": 4}, late[1].rows)]))
        store.roll_up()
        after = store.windows(HOUR, level=Level.HOUR, by=("device",))
        assert (after.inferences - before.inferences).tolist() == [10, 0, 0]
        assert (after.errors - before.errors).tolist() == [0, 0, 0]
        assert (after.latency_count - before.latency_count).tolist() == [1, 0, 0]
        assert after.starts.tolist() == [1, 1, 1]


@every_store
def test_an_export_is_the_same_store_elsewhere_and_refused_when_it_was_changed(
    opened: Opener, tmp_path: Path
) -> None:
    with opened() as store:
        filled(store)
        store.label({"a": {"site": "north"}})
        store.roll_up()
        expected = store.windows(HOUR, level=Level.MINUTE, by=("device", "label:site"))
        devices = store.devices()
        store.export_parquet(tmp_path / "export")
        with pytest.raises(StoreError, match="already"):
            store.export_parquet(tmp_path / "export")
        with pytest.raises(StoreError, match="empty store"):
            store.import_parquet(tmp_path / "export")
    for other in STORES[:2]:
        with other() as store:
            assert store.import_parquet(tmp_path / "export") == 24
            found = store.windows(HOUR, level=Level.MINUTE, by=("device", "label:site"))
            assert [key.tolist() for key in found.keys] == [key.tolist() for key in expected.keys]
            assert found.hist.counts.tolist() == expected.hist.counts.tolist()
            assert store.devices() == devices
            assert store.write(batch_of([inference(stamp("a", "boot", 3, 10.0))])).duplicates == 1
    _refusals(tmp_path / "export")


def _refusals(folder: Path) -> None:
    file, manifest = folder / "inference.parquet", folder / "manifest.json"
    whole, told = file.read_bytes(), manifest.read_text()
    for change, reason in (
        (lambda: file.write_bytes(whole[:-9]), "not the file"),
        (lambda: file.write_bytes(whole[:-1] + b"x"), "not the file"),
        (file.unlink, "cannot be read"),
        (lambda: manifest.write_text(told[:-9]), "not JSON"),
        (lambda: manifest.write_text("[" * 100_000), "not JSON"),
        (lambda: manifest.write_text("{}"), "not an export"),
        (
            lambda: manifest.write_text(
                told.replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99')
            ),
            "schema",
        ),
        (lambda: manifest.write_text(told.replace('"inference"', '"else"')), "table inference"),
        (manifest.unlink, "manifest.json"),
    ):
        change()
        with STORES[0]() as store, pytest.raises(StoreError, match=reason):
            store.import_parquet(folder)
        file.write_bytes(whole)
        manifest.write_text(told)


@every_store
def test_a_window_without_messages_and_a_selection_of_nothing(opened: Opener) -> None:
    with opened() as store:
        assert store.roll_up() == 0
        assert store.devices() == ()
        for by in ((), ("time",), ("device", "artifact"), ("label:target",)):
            assert len(store.windows(HOUR, level=Level.MINUTE, by=by).inferences) == 0
        assert store.outputs(HOUR, level=Level.HOUR, by=("time",)).confidence.shape == (0, 20)
        assert store.readings(HOUR) == ()
        filled(store)
        nobody = Selection(start=EPOCH, end=EPOCH + 60.0, devices=("nobody",))
        assert len(store.windows(nobody, level=Level.MINUTE, by=()).inferences) == 0
        with pytest.raises(ValueError, match="axis"):
            store.windows(HOUR, level=Level.MINUTE, by=("colour",))


@every_store
def test_what_is_asked_for_by_key_is_found_however_it_is_listed_within_and_without_a_transaction(
    opened: Opener,
) -> None:
    question = f"SELECT id FROM device WHERE id IN {ASKED} ORDER BY id"

    def found(store: ColumnStore, asked: list[int]) -> list[int]:
        keys = np.array(asked, dtype=np.int64)
        return store._engine.select(question, keys).column("id").to_pylist()

    with opened() as store:
        filled(store)
        first, second, third = store._engine.select("SELECT id FROM device ORDER BY id")["id"].to_pylist()
        assert found(store, []) == []
        assert found(store, [third, first, third, 1 << 40]) == [first, third]
        assert found(store, [second, *range(100, 30_000)]) == [second]
        with store._engine.snapshot():
            assert found(store, [second]) == [second]
        with store._engine.transaction():
            store._engine.remove_where("device", f"id = {second}")
            assert found(store, [first, second]) == [first]
