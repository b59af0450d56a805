"""Longer windows from shorter ones: made anew from all that they are made of, never added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store import window_rows
from host_tools.review.store.cohorts import mark_fleets
from host_tools.review.store.engine import ASKED
from host_tools.review.store.schema import window_table
from host_tools.review.store.window_facts import KEYS
from host_tools.review.store.window_rows import column
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine

Windows = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Devices and starts, one element a window."""
FOLLOWING = dict(zip(list(Level), list(Level)[1:], strict=False))
"""Which level is made of which."""
_MOST_WINDOWS = 10_000
"""That are made at once where a level is made as a whole."""


def roll_up_level(engine: Engine, level: Level, finer: Windows) -> Windows:
    """Make the windows of a level anew in which windows of the one before changed; return which they are."""
    changed = unique(finer[0], finer[1] // level.seconds * level.seconds)
    source = next(one for one, following in FOLLOWING.items() if following is level)
    low, high = int(changed[1].min()), int(changed[1].max()) + level.seconds
    rows = engine.select(
        f'SELECT * FROM {window_table(source)} WHERE device IN {ASKED} AND "time" >= {low} AND "time" < {high}',
        changed[0],
    )
    parts = window_rows.read(rows, KEYS)
    parts.keys["time"] = parts.keys["time"] // level.seconds * level.seconds
    parts = window_rows.chosen(parts, is_among((parts.keys["device"], parts.keys["time"]), changed))
    groups, keys = window_rows.grouped(parts.keys)
    write_windows(engine, level, window_rows.merged(parts, groups, keys), changed)
    return changed


def write_windows(engine: Engine, level: Level, made: window_rows.WindowRows, changed: Windows) -> None:
    """Write windows in the place of all that there were of those that changed."""
    table = window_table(level)
    gone = {"device": pa.array(changed[0], pa.int32()), "time": pa.array(changed[1])}
    low, high = int(changed[1].min()), int(changed[1].max())
    also = f'{table}."time" BETWEEN {low} AND {high} AND {table}.part = 0'
    engine.remove(table, pa.table(gone), also=also)
    engine.append(table, window_rows.as_table(made, part=0))
    mark_fleets(engine, level, changed[1])


def fill_level(engine: Engine, level: Level) -> None:
    """Make all windows of a level from those of the level before, for a store that had none of them."""
    source = next(one for one, following in FOLLOWING.items() if following is level)
    rows = engine.select(f'SELECT DISTINCT device, "time" FROM {window_table(source)}')
    time = column(rows, "time") // level.seconds * level.seconds
    device, start = unique(column(rows, "device").astype(np.int64), time)
    order = np.lexsort((device, start))
    for first in range(0, len(order), _MOST_WINDOWS):
        piece = order[first : first + _MOST_WINDOWS]
        roll_up_level(engine, level, (device[piece], start[piece]))


def is_among(windows: Windows, others: Windows) -> NDArray[np.bool_]:
    """Return which windows are among others."""
    if not len(others[0]) or not len(windows[0]):
        return np.zeros(len(windows[0]), dtype=bool)
    low = min(int(windows[1].min()), int(others[1].min()))
    span = max(int(windows[1].max()), int(others[1].max())) - low + 1
    return np.isin(windows[0] * span + windows[1] - low, others[0] * span + others[1] - low)


def unique(device: NDArray[np.int64], time: NDArray[np.int64]) -> Windows:
    """Return each window once, by device and start."""
    both = np.unique(np.stack((device, time)), axis=1)
    return both[0], both[1]
