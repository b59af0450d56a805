"""What a DuckDB file takes on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from host_tools.review.store import clock_evidence
from host_tools.review.store.boots import Boots, read_clock
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.schema import TABLES, window_table
from host_tools.review.store.windows import Level

DEVICES, MINUTES, STRETCH = 6000, 200, 50
"""A stretch is more rows than DuckDB keeps together (122,880), as it is with 10,000 devices."""
RANDOM = ("latency_sum", "watts_sum", "celsius_sum")


def windows(minutes: range) -> pa.Table:
    """Windows of all devices, minute by minute, as roll-ups write them, of numbers that do not compress."""
    size = len(minutes) * DEVICES
    chance = np.random.default_rng(minutes.start)
    columns: dict[str, pa.Array] = {}
    for name, kind in TABLES[window_table(Level.MINUTE)].columns.items():
        if kind.endswith("[]"):
            columns[name] = pa.array([[]] * size, pa.list_(pa.int64()))
        else:
            columns[name] = pa.array(chance.random(size) if name in RANDOM else np.zeros(size, np.int8))
    columns["time"] = pa.array(np.repeat(60 * np.array(minutes), DEVICES))
    columns["device"] = pa.array(np.tile(np.arange(DEVICES, dtype=np.int32), len(minutes)))
    return pa.table(columns)


def test_arranging_every_window_takes_the_room_of_a_stretch_and_not_of_all(tmp_path: Path) -> None:
    path, table = tmp_path / "a.duckdb", window_table(Level.MINUTE)
    engine = DuckDbEngine(path, threads=1)
    engine.create(TABLES)
    for first in range(0, MINUTES, STRETCH):
        with engine.transaction():
            engine.append(table, windows(range(first, first + STRETCH)))
    engine.compact()
    before = path.stat().st_size
    sums = f'SELECT count(*) AS size, sum(latency_sum) AS total, sum(device * "time") AS places FROM {table}'
    told = engine.select(sums).to_pylist()
    for first in range(0, MINUTES, STRETCH):
        with engine.transaction():
            engine.arrange(table, 60 * first, 60 * (first + STRETCH))
    arranged = engine.select(f"SELECT device FROM {table} LIMIT {STRETCH}")
    assert set(arranged.column("device").to_pylist()) == {0}
    assert [round(value, 6) for value in engine.select(sums).to_pylist()[0].values()] == [
        round(value, 6) for value in told[0].values()
    ]
    engine.close()
    assert path.stat().st_size < before * (1 + 1.2 * STRETCH / MINUTES), f"{before} bytes before"


def test_what_a_small_transaction_logs_of_a_run_does_not_grow_with_those_before_it(tmp_path: Path) -> None:
    """Of a row with a list DuckDB logs the lists of the rows before it, too, and most transactions are of a few runs."""
    path = tmp_path / "a.duckdb"
    engine = DuckDbEngine(path, threads=1)
    engine.create(TABLES)
    boots = Boots(engine)
    log, logged = Path(f"{path}.wal"), []
    for _ in range(500):
        before = log.stat().st_size
        with engine.transaction():
            engine.replace("boot", boots.rows(boots.places([(1, "boot")])))
        logged.append(log.stat().st_size - before)
    row = engine.select("SELECT * FROM boot")
    assert np.array_equal(read_clock(row), clock_evidence.NOTHING[None])
    engine.close()
    assert max(logged[1:]) < 2 * logged[1], logged
