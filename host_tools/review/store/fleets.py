"""Windows of whole fleets: those of devices, merged by cohort and artifact, so that a page need not read 10,000 devices.

Beside the windows of each artifact there is one of all artifacts, in which a device that ran two counts once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from host_tools.review.store import window_rows
from host_tools.review.store.engine import one_of
from host_tools.review.store.schema import fleet_table, window_table
from host_tools.review.store.window_rows import WindowRows, column
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.review.store.cohorts import Cohorts
    from host_tools.review.store.engine import Engine

ALL_ARTIFACTS = -1
KEYS = ("time", "cohort", "artifact", "devices", "main_devices")
_MOST_ROWS = 100_000
"""Windows of devices that one transaction reads."""


def roll_up_fleets(engine: Engine, cohorts: Cohorts) -> Iterator[tuple[int, float]]:
    """Make every window of a fleet anew of which a device's changed; tell after each piece how many, and the share done."""
    dirty = engine.select('SELECT DISTINCT level, "time" FROM dirty_fleet')
    at_once = max(1, _MOST_ROWS // max(len(cohorts.of_devices()), 1))
    done = 0
    for level in Level:
        times = np.sort(column(dirty, "time")[column(dirty, "level") == level.seconds])
        for first in range(0, len(times), at_once):
            piece = times[first : first + at_once]
            with engine.transaction():
                changed = _roll_up(engine, level, piece, cohorts.of_devices())
            done += len(piece)
            yield changed, done / dirty.num_rows


def _roll_up(engine: Engine, level: Level, times: NDArray[np.int64], of_devices: NDArray[np.int64]) -> int:
    near = f'"time" BETWEEN {times[0]} AND {times[-1]} AND {one_of(chr(34) + "time" + chr(34), times)}'
    rows = engine.select(f"SELECT * FROM {window_table(level)} WHERE {near}")
    engine.remove(fleet_table(level), pa.table({"time": times}))
    made = 0
    if rows.num_rows:
        parts = window_rows.read(rows, ("device", "time", "artifact"))
        cohort = of_devices[parts.keys["device"]]
        own = is_own(parts)
        for artifact in (parts.keys["artifact"], np.full(len(parts), ALL_ARTIFACTS)):
            groups, keys = window_rows.grouped(
                {"time": parts.keys["time"], "cohort": cohort, "artifact": artifact}
            )
            keys["devices"] = distinct(groups, parts.keys["device"], len(keys["time"]))
            keys["main_devices"] = distinct(groups[own], parts.keys["device"][own], len(keys["time"]))
            merged = window_rows.merged(parts, groups, keys)
            engine.append(fleet_table(level), window_rows.as_table(merged))
            made += len(merged)
    levels = pa.array(np.full(len(times), level.seconds), pa.int32())
    engine.remove("dirty_fleet", pa.table({"level": levels, "time": times}))
    return made


def read_fleet(tables: list[pa.Table]) -> WindowRows:
    """Return windows of fleets."""
    if not tables:
        return window_rows.empty(KEYS)
    return window_rows.read(window_rows.concatenated(tables), KEYS)


def distinct(groups: NDArray[np.int64], device: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return how many devices there are in each group."""
    if not len(groups):
        return np.zeros(count, dtype=np.int64)
    span = int(device.max()) + 1
    return np.bincount(np.unique(groups * span + device) // span, minlength=count)


def is_own(rows: WindowRows) -> NDArray[np.bool_]:
    """Return which windows of devices are of the devices' own models; those of samples alone are."""
    return np.asarray((rows.numbers["device_seconds"] > 0) | (rows.numbers["covered_seconds"] == 0))
