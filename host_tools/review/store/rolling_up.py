"""From messages to windows, and from windows to longer ones: what changed is made anew from what it is made of.

Nothing is ever added to a window, so a roll-up may be killed at any moment and run again. It works in pieces, each of
which is one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store import clock_evidence, window_rows
from host_tools.review.store.boots import read_clock
from host_tools.review.store.dirty_windows import FINEST, dirty_runs, heard
from host_tools.review.store.engine import ASKED, one_of
from host_tools.review.store.fleets import roll_up_fleets
from host_tools.review.store.longer_windows import (
    FOLLOWING,
    Windows,
    is_among,
    roll_up_level,
    unique,
    write_windows,
)
from host_tools.review.store.retaining import sealed_before
from host_tools.review.store.schema import MESSAGE_TABLES, window_table
from host_tools.review.store.window_facts import KEYS, Facts, read_runs
from host_tools.review.store.window_rows import column
from host_tools.review.store.window_totals import read_removed
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from host_tools.review.store.boots import Boots
    from host_tools.review.store.cohorts import Cohorts
    from host_tools.review.store.engine import Engine
    from host_tools.review.store.sensors import Sensors

_MARGINS = (120.0, 7200.0, 1e12)
"""How far beside what changed messages are read at first, and where their neighbours were not among them; seconds."""
_SLACK_SECONDS = 10.0
_MOST_WINDOWS = 60_000
"""Of one piece."""
_NEAR_SECONDS = 3600

_ARRANGED_SPANS = {Level.SECONDS_10: 600, Level.MINUTE: 3600, Level.HOUR: 86400}
"""Seconds that are laid out by device at once."""


@dataclass(frozen=True, slots=True)
class RollingUp:
    """What is rolled up with."""

    engine: Engine
    sensors: Sensors
    boots: Boots
    cohorts: Cohorts

    def run(self, progress: Callable[[float], None] | None = None) -> int:
        """Bring every level up to date; return how many windows changed."""
        changed = 0
        for count, share in self.steps():
            changed += count
            if progress is not None:
                progress(share)
        return changed

    def steps(self, *, most_windows: int = _MOST_WINDOWS) -> Iterator[tuple[int, float]]:
        """Do the same piece by piece; after each, which is a transaction, tell how many windows changed, and the share done.

        What is written between two pieces may be in the windows of later ones, and is in those of the next roll-up.

        Args:
            most_windows: Of 10 s, of one piece; that of one device are never split.
        """
        self._place()
        yield 0, 0.0
        rows = self.engine.select('SELECT DISTINCT device, "time" FROM dirty')
        device, time = column(rows, "device").astype(np.int64), column(rows, "time")
        done = 0
        for chosen in _pieces(device, time, most_windows):
            with self.engine.transaction():
                changed = self._roll_up((device[chosen], time[chosen]))
            done += len(chosen)
            yield changed, 0.8 * done / len(device)
        for changed, share in roll_up_fleets(self.engine, self.cohorts):
            yield changed, 0.8 + 0.2 * share
        for _ in self._arrange():
            yield 0, 1.0
        yield 0, 1.0

    def _arrange(self) -> Iterator[None]:
        """Lay out by device what is older than one stretch: what is new is mostly asked for by time, what is old by device."""
        for level, span in _ARRANGED_SPANS.items():
            table, name = window_table(level), f"arranged_{level.seconds}"
            latest = (
                self.engine.select(f'SELECT max("time") AS latest FROM {table}').column("latest")[0].as_py()
            )
            rows = self.engine.select(f'SELECT "value" FROM setting WHERE "name" = \'{name}\'')
            done = int(rows.column("value")[0].as_py()) if rows.num_rows else 0
            end = ((latest or 0) // span - 1) * span
            if end <= done:
                continue
            times = self.engine.select(
                f'SELECT DISTINCT "time" FROM {table} WHERE "time" >= {done} AND "time" < {end}'
            )
            for start in np.unique(column(times, "time") // span * span).tolist():
                with self.engine.transaction():
                    self.engine.arrange(table, start, start + span)
                    self.engine.replace("setting", pa.table({"name": [name], "value": [str(start + span)]}))
                yield

    # --- when messages were made ---

    def _place(self) -> None:
        """Place the messages of runs anew of whose clocks more is known by now."""
        with self.engine.transaction():
            rows = self.engine.select("SELECT * FROM boot WHERE is_moved ORDER BY boot")
            if not rows.num_rows:
                return
            states = read_clock(rows)
            placed = {"wrong": clock_evidence.is_wrong(states), "start": clock_evidence.starts(states)}
            boot = column(rows, "boot")
            dirty_runs(self.engine, boot)
            for table in MESSAGE_TABLES:
                self.engine.place(table, pa.table({"boot": boot, **placed}))
            stays = np.zeros(len(boot), dtype=bool)
            now = {"placed_wrong": placed["wrong"], "placed_start": placed["start"], "is_moved": stays}
            for name, values in now.items():
                rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
            self.engine.replace("boot", rows)
            dirty_runs(self.engine, boot)
        self.boots.forget()

    # --- windows of devices ---

    def _roll_up(self, dirty: Windows) -> int:
        made, changed = self._windows(dirty)
        write_windows(self.engine, Level.SECONDS_10, made, changed)
        count = len(changed[0])
        level = Level.SECONDS_10
        while level in FOLLOWING:
            level = FOLLOWING[level]
            changed = roll_up_level(self.engine, level, changed)
            count += len(changed[0])
        gone = pa.table({"device": pa.array(dirty[0], pa.int32()), "time": pa.array(dirty[1])})
        self.engine.remove("dirty", gone)
        return count

    def _windows(self, dirty: Windows) -> tuple[window_rows.WindowRows, Windows]:
        """Return the windows of 10 s that changed, made anew, and which they are: those too that follow a dirty one."""
        for margin in _MARGINS:
            facts = self._facts(dirty, margin)
            changed = _with_following(dirty, facts.follows)
            if margin == _MARGINS[-1] or not _reaches_beyond(facts.edges, changed, dirty, margin):
                break
        if not facts.parts:
            return _nothing(), changed
        made = facts.windows()
        return window_rows.chosen(made, is_among((made.keys["device"], made.keys["time"]), changed)), changed

    def _facts(self, dirty: Windows, margin: float) -> Facts:
        low = int(dirty[1].min()) - margin
        high = int(dirty[1].max()) + FINEST + margin
        devices = f"device IN {ASKED}"
        runs = read_runs(self.engine.select(f"SELECT * FROM boot WHERE {devices} ORDER BY boot", dirty[0]))
        sealed = sealed_before(self.engine)
        facts = Facts(runs, read_removed(self.engine, runs.boot, sealed))
        within = f"{devices} AND moment >= {low!r} AND moment < {high!r}"
        facts.add_inference(self.engine.select(f"SELECT * FROM inference WHERE {within}", dirty[0]))
        roles = self.sensors.roles()
        with_role = one_of("sensor", np.flatnonzero(roles > 0))
        columns = 'device, boot, seq, artifact, moment, uptime_seconds, sensor, "value"'
        facts.add_readings(
            self.engine.select(f"SELECT {columns} FROM reading WHERE {within} AND {with_role}", dirty[0]),
            roles,
        )
        facts.add_stretches(heard(self.engine, runs.boot), since=sealed)
        return facts


def _pieces(
    device: NDArray[np.int64], time: NDArray[np.int64], most_windows: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the places of windows piece by piece: a device's all in one, devices together that lie near in time."""
    if not len(device):
        return
    devices, place = np.unique(device, return_inverse=True)
    low = np.full(len(devices), np.iinfo(np.int64).max)
    np.minimum.at(low, place.reshape(-1), time)
    order = np.lexsort((time, device, low[place.reshape(-1)] // _NEAR_SECONDS))
    near = low[place.reshape(-1)][order] // _NEAR_SECONDS
    first = 0
    is_new_device = np.concatenate(([True], device[order][1:] != device[order][:-1]))
    for end in [*np.flatnonzero(is_new_device)[1:].tolist(), len(order)]:
        is_last = end == len(order)
        if is_last or end - first >= most_windows or near[end] != near[first]:
            yield order[first:end]
            first = end


def _with_following(dirty: Windows, follows: list[pa.Table]) -> Windows:
    """Return windows with those of messages that come next after theirs."""
    devices, times = [dirty[0]], [dirty[1]]
    for rows in follows:
        device, before = column(rows, "device"), column(rows, "before")
        next_to = is_among((device, before), dirty)
        devices.append(device[next_to])
        times.append(column(rows, "time")[next_to])
    return unique(np.concatenate(devices), np.concatenate(times))


def _reaches_beyond(edges: list[pa.Table], changed: Windows, dirty: Windows, margin: float) -> bool:
    """Return whether beside a message of a changed window another may be that was not read."""
    low, high = float(dirty[1].min()) - margin, float(dirty[1].max()) + FINEST + margin
    for rows in edges:
        among = is_among((column(rows, "device"), column(rows, "time")), changed)
        moment, uptime = column(rows, "moment"), column(rows, "uptime")
        before = column(rows, "low_uptime") < uptime - (moment - low) + _SLACK_SECONDS
        after = column(rows, "high_uptime") > uptime + (high - moment) - _SLACK_SECONDS
        if np.any(among & np.where(column(rows, "side") < 0, before, after)):
            return True
    return False


def _nothing() -> window_rows.WindowRows:
    return window_rows.empty(KEYS)
