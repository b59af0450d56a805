"""Several models of one device, and the sides of a split: each counts from the start of the run on its own."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from host_tools.errors import InputError, StoreError
from host_tools.review.store import clock_evidence
from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.opening import opened as opened_again
from host_tools.review.store.schema import SCHEMA_VERSION, fleet_table, window_table
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.windows import Level, Selection
from tests.unit.host_tools.review.store.opened_stores import STORES, Opener, duckdb_store
from tests.unit.host_tools.review.store.plain_windows import plain_windows
from tests.unit.host_tools.review.store.stored_messages import (
    DIGESTS,
    EPOCH,
    STREAMS,
    Said,
    Stream,
    batch_of,
    birth,
    inference,
    sample,
    stamp,
)

ALL = Selection(start=EPOCH - 60.0, end=EPOCH + 3600.0)
MINUTE, DAY = 60.0, 86400.0
every_store = pytest.mark.parametrize("opened", STORES)
COUNTED = ("inferences", "errors", "dropped", "latency_count", "covered_seconds")


def told(chance: random.Random) -> list[Said]:
    """What two devices with three streams say in five minutes, each window of it; some of it never comes."""
    said: list[Said] = []
    for device in ("a", "b"):
        seq = 0
        streams = STREAMS[2]
        begins = {stream: chance.choice([1, 1, chance.randint(2, 30)]) for stream in streams}
        totals = {stream: [0, 0, 0] for stream in streams}
        for window in range(1, 31):
            for stream in chance.sample(streams, len(streams)):
                if begins[stream] > window:
                    continue
                seq += 1
                count, own = chance.randint(0, 9), totals[stream]
                own[0], own[1], own[2] = own[0] + count, own[1] + chance.randint(0, 3), own[2] + 1
                artifact = DIGESTS[streams.index(stream) % 2]  # two of the three have the same
                envelope = stamp(device, "boot", seq, 10.0 * window + 0.01 * seq, artifact=artifact)
                said.append(inference(envelope, total=own[0], errors=own[1], dropped=own[2],
                                      counts={-200: count} if count else {}, stream=stream))  # fmt: skip
    return [one for one in said if chance.random() > 0.1]


def deliver(store: ColumnStore, messages: list[Said], chance: random.Random) -> None:
    """In any order, some twice, in several batches."""
    deliveries = messages + [one for one in messages if chance.random() < 0.2]
    chance.shuffle(deliveries)
    while deliveries:
        size = chance.randint(1, len(deliveries))
        store.write(batch_of(deliveries[:size]))
        deliveries = deliveries[size:]
        if chance.random() < 0.5:
            store.roll_up()


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 2**32))
def test_totals_go_on_over_what_was_removed(seed: int) -> None:
    _goes_on(duckdb_store, random.Random(seed))


@pytest.mark.parametrize("opened", STORES[1:])
def test_totals_go_on_in_another_database(opened: Opener) -> None:
    _goes_on(opened, random.Random(7))


def _goes_on(opened: Opener, chance: random.Random) -> None:
    messages = told(chance)
    # The cuts are the starts of minutes, so that windows of a minute are whole.
    cuts = sorted(chance.sample(range(6), 2))
    rest = messages
    with opened() as store:
        for cut in cuts:
            before = EPOCH + cut * MINUTE
            deliver(store, [one for one in rest if one.envelope["time"] < before], chance)
            rest = [one for one in rest if one.envelope["time"] >= before]
            store.retain(Retention(messages_days=0.0), now=before)
        deliver(store, rest, chance)
        store.roll_up()
        found = store.windows(ALL, level=Level.MINUTE, by=("device", "artifact", "time"))
        expected: dict[tuple[str, str, int], dict[str, float]] = {}
        for (device, time, artifact), window in plain_windows(messages).items():
            of_minute = expected.setdefault((device, artifact, time // 60 * 60), dict.fromkeys(COUNTED, 0.0))
            for name in COUNTED:
                of_minute[name] += window[name]
        keys = list(zip(*found.keys, strict=True))
        for name in COUNTED:
            values = getattr(found, name).tolist()
            assert {key: value for key, value in zip(keys, values, strict=True) if value} == {
                key: window[name] for key, window in expected.items() if window[name]
            }, name


@every_store
def test_what_comes_after_its_time_was_sealed_is_not_counted_twice(opened: Opener) -> None:
    main, reader = ("main", None), ("reader", None)

    def window(seq: int, stream: Stream, total: int) -> Said:
        return inference(stamp("a", "boot", seq, 5.0 * seq), total=total, counts={-200: 1}, stream=stream)

    with opened() as store:
        store.write(
            batch_of(
                [window(1, main, 3), window(2, reader, 100), window(9, main, 90), window(10, reader, 200)]
            )
        )
        store.retain(Retention(messages_days=0.0), now=EPOCH + 60.0)
        # Late: their inferences were counted with messages 9 and 10. Then each goes on, and a third begins.
        store.write(batch_of([window(3, main, 30), window(5, main, 50), window(4, reader, 150)]))
        store.write(batch_of([window(14, reader, 205), window(13, main, 97), window(15, ("third", "a"), 1)]))
        store.roll_up()
        windows = store.windows(ALL, level=Level.HOUR, by=())
        assert windows.inferences.tolist() == [97 + 205 + 1]
        assert windows.latency_count.tolist() == [10]


@every_store
def test_what_comes_when_shorter_windows_are_gone_is_not_counted_twice(opened: Opener) -> None:
    def window(seq: int, uptime: float) -> Said:
        return inference(stamp("a", "boot", seq, uptime), total=seq, counts={-200: 1})

    with opened() as store:
        store.write(batch_of([window(1, 5.0), window(3, 9.0), window(4, 15.0)]))
        for days in (2.5, 3.5, 10.0, 20.0, 500.0):
            store.retain(Retention(), now=EPOCH + days * DAY)
            if days == 2.5:
                # Late, for a window that has others already: it is made anew, and the one after it.
                store.write(batch_of([window(2, 7.0)]))
                store.roll_up()
            for level in (Level.HOUR, Level.DAY):
                windows = store.windows(ALL, level=level, by=())
                assert windows.latency_count.tolist() == ([4] if level is Level.DAY or days < 400 else []), (
                    days
                )
                assert windows.inferences.tolist() == ([4] if level is Level.DAY or days < 400 else []), days


@every_store
def test_a_store_remembers_how_long_it_keeps_what(opened: Opener) -> None:
    with opened() as store:
        assert store.retention() == Retention()
        kept = Retention(messages_days=1.5, minute_days=30.0, hour_days=None)
        for one in (Retention(dead_letters_days=None), kept):
            store.keep(one)
            assert store.retention() == one
        assert opened_again(store._engine, read_only=True).retention() == kept
        for told in ("{", "[1]", '{"minute_days": 1.0}', '{"minute_days": "x"}'):
            store._engine.replace("setting", pa.table({"name": ["retention"], "value": [told]}))
            with pytest.raises(StoreError, match="which is no retention"):
                store.retention()


def test_a_window_is_kept_as_long_as_what_it_is_made_of() -> None:
    with pytest.raises(
        InputError, match=r"minute: expected at least as long as seconds_10, which is kept 20 days, got 14"
    ):
        Retention(seconds_10_days=20.0)
    with pytest.raises(
        InputError, match=r"hour: expected at least as long as minute, which is kept for good, got 400"
    ):
        Retention(minute_days=None)
    assert Retention(messages_days=None, seconds_10_days=None, minute_days=None, hour_days=None)


@every_store
def test_a_model_that_begins_late_tells_all_of_its_own(opened: Opener) -> None:
    with opened() as store:
        said = [
            inference(stamp("a", "boot", n, 10.0 * n), total=5 * n, stream=("main", None))
            for n in (1, 2, 3, 4)
        ]
        said.append(
            inference(stamp("a", "boot", 5, 41.0), total=5, errors=2, dropped=7, stream=("slow", None))
        )
        # This one was at work before anybody listened: what it tells is of its own window alone.
        said.append(inference(stamp("a", "boot", 6, 42.0), total=900, errors=40, stream=("old", "b")))
        store.write(batch_of(said[::-1]))
        store.roll_up()
        windows = store.windows(ALL, level=Level.HOUR, by=("device",))
        assert (windows.inferences.tolist(), windows.errors.tolist(), windows.dropped.tolist()) == (
            [30],
            [2],
            [7],
        )


@every_store
def test_a_devices_artifact_is_that_of_its_own_model(opened: Opener) -> None:
    with opened() as store:
        for seq, stream in enumerate(
            (("main", "a"), ("main", "b"), ("reader", "a"), ("reader", None)), start=1
        ):
            envelope = stamp("a", "boot", seq, float(seq), artifact=DIGESTS[seq > 1])
            store.write(batch_of([inference(envelope, stream=stream)]))
        assert store.devices()[0].artifact == DIGESTS[0]
        store.write(
            batch_of([sample(stamp("a", "boot", 5, 5.0, artifact=DIGESTS[1]), "system", cpu_ratio=0.5)])
        )
        assert store.devices()[0].artifact == DIGESTS[1]


@every_store
def test_a_device_of_several_models_is_one_device_and_its_time_counts_once(opened: Opener) -> None:
    streams = {("main", "a"): DIGESTS[0], ("main", "b"): DIGESTS[1], ("reader", None): DIGESTS[1]}
    with opened() as store:
        said, seq = [], 0
        for window in range(1, 7):
            for stream, artifact in streams.items():
                seq += 1
                envelope = stamp("a", "boot", seq, 10.0 * window - 1, artifact=artifact)
                said.append(inference(envelope, total=5 * window, stream=stream))
            alone = stamp("b", "boot", window, 10.0 * window - 1, artifact=DIGESTS[1])
            said.append(inference(alone, total=5 * window))
        said.append(sample(stamp("c", "boot", 1, 5.0), "system", cpu_ratio=0.5))  # no inference yet
        store.write(batch_of(said))
        store.roll_up()
        for by, devices, own, seconds in (
            ((), [3], [3], [120.0]),
            (("artifact",), [2, 2], [2, 1], [60.0, 180.0]),
            (("device",), [1, 1, 1], [1, 1, 1], [60.0, 60.0, 0.0]),
            (("time", "artifact"), [2, 2], [2, 1], [60.0, 180.0]),
        ):
            for level in (Level.HOUR, Level.DAY):
                for chosen in (ALL, replace(ALL, devices=("a", "b", "c"))):  # of fleets, and of devices
                    found = store.windows(chosen, level=level, by=by)
                    assert found.devices.tolist() == devices
                    assert found.main_devices.tolist() == own
                    assert found.heard_seconds.tolist() == seconds


@every_store
def test_every_artifact_has_the_name_that_a_birth_tells_of_it(opened: Opener) -> None:
    with opened() as store:
        models = [{"model": "main", "variant": "b", "artifact": DIGESTS[1], "model_name": "net", "model_version": "2.0.0"},
                  {"model": "reader", "variant": None, "artifact": None, "model_name": None, "model_version": None}]  # fmt: skip
        told = birth(stamp("a", "boot", 1, 1.0), models=json.dumps(models))
        for _ in range(2):
            store.write(batch_of([told]))
            assert store.model_names() == {DIGESTS[0]: "net 1.0.0", DIGESTS[1]: "net 2.0.0"}
        models[0]["model_version"] = "2.0.1"
        store.write(batch_of([birth(stamp("a", "boot", 2, 2.0), models=json.dumps(models))]))
        assert store.model_names()[DIGESTS[1]] == "net 2.0.1"


@every_store
def test_an_older_store_is_brought_up_to_date_and_goes_on(opened: Opener) -> None:
    with opened() as store:
        engine = store._engine
        store.write(batch_of([inference(stamp("a", "boot", n, 10.0 * n), total=5 * n) for n in (1, 2)]))
        store.retain(Retention(messages_days=0.0), now=EPOCH + 60.0)
        store.write(batch_of([inference(stamp("a", "boot", 3, 70.0), total=15)]))
        _made_older(store)
        with pytest.raises(StoreError, match=f"schema 1; this one reads {SCHEMA_VERSION}"):
            opened_again(engine, read_only=True)
        newer = opened_again(engine)
        for level in (Level.HOURS_6, Level.DAY, Level.DAYS_5):
            found = newer.windows(ALL, level=level, by=("device", "time"))
            assert (found.inferences.tolist(), found.heard_seconds.tolist()) == ([10], [20.0])
        weeks = Selection(
            start=EPOCH - 9 * DAY, end=EPOCH + 9 * DAY
        )  # days, and days by the five, in one answer
        for rolled_up in (False, True):
            newer.roll_up() if rolled_up else None
            for by in ((), ("artifact",), ("device",)):
                assert newer.windows(weeks, level=Level.DAY, by=by).inferences.tolist() == [
                    15 if rolled_up else 10
                ]
        version = engine.select('SELECT "value" FROM setting WHERE "name" = \'schema_version\'')
        assert version.column("value").to_pylist() == [str(SCHEMA_VERSION)]
        if isinstance(engine, DuckDbEngine):
            (kind,) = (
                engine.select("SELECT DISTINCT typeof(clock) AS kind FROM boot").column("kind").to_pylist()
            )
            assert kind == f"DOUBLE[{clock_evidence.WIDTH}]"
        later = [inference(stamp("a", "boot", 5, 90.0), total=40, stream=("reader", None))]
        newer.write(batch_of([*later, inference(stamp("a", "boot", 4, 80.0), total=20)]))
        newer.roll_up()
        assert newer.windows(ALL, level=Level.HOUR, by=()).inferences.tolist() == [25]
        assert newer.roll_up() == opened_again(engine).roll_up() == 0


def _made_older(store: ColumnStore) -> None:
    """As version 1 was: totals stood in `boot`, whose clock was a list, nothing told models, and no hole was closed."""
    engine = store._engine
    if isinstance(engine, DuckDbEngine):  # ClickHouse has one kind of array
        engine.alter("ALTER TABLE boot ALTER clock TYPE DOUBLE[]")
    totals = engine.select("SELECT * FROM removed_totals").to_pylist()[0]
    for name in ("seq", "inferences", "errors", "dropped"):
        engine.alter(f"ALTER TABLE boot ADD COLUMN totals_{name} BIGINT DEFAULT {totals[name]}")
    for table in ("inference", "output"):
        for name in ("model", "variant"):
            engine.alter(f"ALTER TABLE {table} DROP COLUMN {name}")
    engine.alter("DROP TABLE removed_totals")
    engine.alter("ALTER TABLE heard DROP COLUMN closed")
    engine.alter("DROP TABLE model_name")
    engine.alter("ALTER TABLE birth DROP COLUMN models")
    for level in Level:
        for table, columns in ((window_table(level), ()), (fleet_table(level), ("main_devices",))):
            for name in ("device_seconds", *columns):
                engine.alter(f"ALTER TABLE {table} DROP COLUMN {name}")
    for level in (Level.HOURS_6, Level.DAYS_5):
        for table in (window_table(level), fleet_table(level)):
            engine.alter(f"DROP TABLE {table}")
    engine.alter("DELETE FROM setting WHERE \"name\" = 'schema_version'")
    engine.alter("INSERT INTO setting (\"name\", \"value\") VALUES ('schema_version', '1')")
