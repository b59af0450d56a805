"""Windows of every store against those worked out a message at a time: any split, any order, any duplicates."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from host_tools.review.store import window_rows
from host_tools.review.store.tiles import bounds, tiles
from host_tools.review.store.windows import Level, Selection, WindowTable
from tests.unit.host_tools.review.store.opened_stores import STORES, Opener, duckdb_store
from tests.unit.host_tools.review.store.plain_windows import plain_windows
from tests.unit.host_tools.review.store.stored_messages import (
    DIGESTS,
    EPOCH,
    Said,
    batch_of,
    fleet,
    inference,
    stamp,
)

ALL = Selection(start=EPOCH - 10_000.0, end=EPOCH + 200_000.0)
DAY = 86400.0


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 2**32))
def test_windows_are_those_of_the_messages_however_they_come(seed: int) -> None:
    _check(duckdb_store, random.Random(seed))  # a fleet is too much to shrink: its seed tells it


@pytest.mark.parametrize("opened", STORES[1:])
def test_windows_of_another_database_are_the_same(opened: Opener) -> None:
    """ClickHouse takes seconds for what DuckDB does in one, so it has one fleet: four runs, several models, clocks right, ahead and behind."""
    _check(opened, random.Random(38))


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 2**32))
def test_weeks_are_merged_from_windows_of_any_length(seed: int) -> None:
    """Days by the five, days, and hours at the ends: together they are what was said from start to end, once each."""
    _check_weeks(duckdb_store, random.Random(seed))


@pytest.mark.parametrize("opened", STORES[1:])
def test_weeks_of_another_database_are_the_same(opened: Opener) -> None:
    _check_weeks(opened, random.Random(5))


def _check_weeks(opened: Opener, chance: random.Random) -> None:
    said: list[Said] = []
    for device in ("a", "b"):
        total, began = 0, chance.uniform(0, 5) * DAY
        for seq, hour in enumerate(sorted(chance.sample(range(1, 24 * 45), 30)), start=1):
            counts = {chance.randint(-210, -180): chance.randint(1, 9) for _ in range(3)}
            total += sum(counts.values())
            envelope = stamp(device, "boot", seq, 3600.0 * hour, made=EPOCH + began + 3600.0 * hour,
                             artifact=DIGESTS[hour > 500])  # fmt: skip
            said.append(inference(envelope, total=total, counts=counts, scale=chance.choice([5, 5, 4])))
    with opened() as store:
        deliveries = said + said[:9]
        chance.shuffle(deliveries)
        for first in range(0, len(deliveries), 30):
            store.write(batch_of(deliveries[first : first + 30]))
            store.roll_up()
        windows = plain_windows(said)
        tiled: set[Level] = set()
        for level in (Level.HOUR, Level.DAY, Level.DAY, Level.DAYS_5):
            start = EPOCH + chance.uniform(-5, 30) * DAY
            if (
                level is Level.HOUR
            ):  # so that hours lie before the first quarter of a day, and quarters before the first day
                start = start // DAY * DAY + chance.uniform(1, 5.9) * 3600.0
            asked = Selection(start=start, end=start + chance.uniform(11, 40) * DAY)
            low, high = bounds(asked, level)
            tiled |= {tile[0] for tile in tiles(asked, level, in_time=False)}
            within = {key: window for key, window in windows.items() if low <= key[1] < high}
            for by in (("device",), ("device", "artifact"), ("artifact",)):
                _same(store.windows(asked, level=level, by=by), within, level, by)
        assert {Level.HOUR, Level.HOURS_6, Level.DAY, Level.DAYS_5} <= tiled


def _check(opened: Opener, chance: random.Random) -> None:
    messages = fleet(chance)
    again = [_delayed(one, chance.choice([0.0, 1.0, 30.0])) for one in messages if chance.random() < 0.2]
    deliveries = messages + again
    chance.shuffle(deliveries)
    with opened() as store:
        rest = list(deliveries)
        while rest:
            size = chance.randint(1, len(rest))
            store.write(batch_of(rest[:size]))
            rest = rest[size:]
            if chance.random() < 0.5:
                store.roll_up()
        store.roll_up()
        expected = plain_windows(deliveries)
        for level in Level:
            _same(
                store.windows(ALL, level=level, by=("device", "time", "artifact")),
                expected,
                level,
                ("device", "time", "artifact"),
            )
        _same(store.windows(ALL, level=Level.HOUR, by=("time",)), expected, Level.HOUR, ("time",))
        _same(
            store.windows(ALL, level=Level.MINUTE, by=("artifact", "device")),
            expected,
            Level.MINUTE,
            ("artifact", "device"),
        )
        _same(store.windows(ALL, level=Level.SECONDS_10, by=()), expected, Level.SECONDS_10, ())
        assert store.roll_up() == 0


def _delayed(one: Said, seconds: float) -> Said:
    return Said(one.table, {**one.envelope, "received": one.envelope["received"] + seconds}, one.rows)


def _same(
    table: WindowTable, windows: dict[Any, dict[str, Any]], level: Level, axes: tuple[str, ...]
) -> None:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    devices: dict[tuple[Any, ...], set[str]] = {}
    for (device, time, artifact), window in windows.items():
        told = {"device": device, "time": time // level.seconds * level.seconds, "artifact": artifact or None}
        key = tuple(told[axis] for axis in axes)
        devices.setdefault(key, set()).add(device)
        row = rows.setdefault(
            key, dict.fromkeys((*window_rows.FLOAT_SUMS, *window_rows.COUNTS), 0) | {"hist": {}}
        )
        for name in (*window_rows.FLOAT_SUMS, *window_rows.COUNTS):
            row[name] += window.get(name, 0)
        for name in (*window_rows.SMALLEST, *window_rows.LARGEST):
            if name in window:
                choose = min if name in window_rows.SMALLEST else max
                row[name] = choose(row[name], window[name]) if name in row else window[name]
        for (scale, index), count in window["hist"].items():
            lowered = index >> (scale - table.hist.scale)
            row["hist"][lowered] = row["hist"].get(lowered, 0) + count
    found = list(zip(*table.keys, strict=True)) if axes else [()] * len(table.devices)
    order = sorted(rows, key=lambda key: tuple((part is None, part or 0) for part in key))
    assert found == order
    for place, key in enumerate(order):
        row = rows[key]
        assert table.devices[place] == len(devices[key])
        for name in window_rows.NUMBERS:
            value = getattr(table, name)[place]
            expected = row.get(name, math.nan)
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), (key, name)
        buckets = slice(table.hist.offsets[place], table.hist.offsets[place + 1])
        assert (
            dict(zip(table.hist.indices[buckets].tolist(), table.hist.counts[buckets].tolist(), strict=True))
            == row["hist"]
        )
        assert np.all(np.diff(table.hist.indices[buckets]) > 0)
