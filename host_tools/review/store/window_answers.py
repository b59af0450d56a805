"""Windows merged as asked: those of devices, or where they can tell it those of fleets, which are far fewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from host_tools.review.store import tiles, window_rows
from host_tools.review.store.engine import one_of
from host_tools.review.store.fleets import ALL_ARTIFACTS, distinct, is_own, read_fleet
from host_tools.review.store.schema import fleet_table, window_table
from host_tools.review.store.selecting import has_labels
from host_tools.review.store.window_facts import KEYS
from host_tools.review.store.window_rows import WindowRows, column
from host_tools.review.store.windows import Level, Selection, WindowTable, check_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.selecting import Selecting


@dataclass(frozen=True, slots=True)
class WindowAnswers:
    """What questions for windows are answered with."""

    engine: Engine
    selecting: Selecting

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """See `TelemetryStore.windows`."""
        axes = check_axes(by)
        wanted = tiles.tiles(selection, level, in_time="time" in axes)
        if self._is_of_fleets(selection, axes, wanted):
            return self._fleet_windows(selection, level, axes, wanted)
        where = self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        found = [
            self.engine.select(f"SELECT * FROM {_within(window_table(one[0]), one)}{where}") for one in wanted
        ]
        rows = window_rows.read(window_rows.concatenated(found), KEYS)
        groups, named = self._grouped(rows, axes, level)
        made = window_rows.merged(rows, groups, named)
        return self._table(made, axes, level, *_device_counts(rows, groups, axes, len(made)))

    def _grouped(
        self, rows: WindowRows, axes: tuple[str, ...], level: Level
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        keys = {axis: self.selecting.axis(axis, rows.keys, level) for axis in axes}
        if keys:
            return window_rows.grouped(keys)
        size = len(rows)
        return np.zeros(size, dtype=np.int64), {"all": np.zeros(min(size, 1), dtype=np.int64)}

    # --- windows of fleets ---

    def _is_of_fleets(self, selection: Selection, axes: tuple[str, ...], wanted: list[tiles.Tile]) -> bool:
        """Return whether windows of fleets can tell it, and are up to date."""
        if selection.devices is not None or "device" in axes:
            return False
        if selection.artifacts is not None and len(selection.artifacts) > 1 and "artifact" not in axes:
            return False  # a device that ran two of them would count twice
        labels = {axis[6:] for axis in axes if axis.startswith("label:")} | {
            key for key, _ in selection.labels
        }
        if not labels <= self.selecting.cohorts.keys():
            return False
        if labels and not self.selecting.cohorts.are_all_told():
            return False
        behind = " OR ".join(
            f'level = {level.seconds} AND "time" >= {start} AND "time" < {end}'
            for level, start, end in wanted
        )
        return (
            bool(wanted)
            and not self.engine.select(f"SELECT level FROM dirty_fleet WHERE {behind} LIMIT 1").num_rows
        )

    def _fleet_windows(
        self, selection: Selection, level: Level, axes: tuple[str, ...], wanted: list[tiles.Tile]
    ) -> WindowTable:
        told = self.selecting.cohorts.told()
        where = ""
        if selection.labels:
            where = f" AND {one_of('cohort', [key for key, own in enumerate(told) if has_labels(own, selection.labels)])}"
        if "artifact" in axes or selection.artifacts is not None:
            where += f" AND artifact <> {ALL_ARTIFACTS}" + self.selecting.where(selection, None)
        else:
            where += f" AND artifact = {ALL_ARTIFACTS}"
        rows = read_fleet(
            [
                self.engine.select(f"SELECT * FROM {_within(fleet_table(one[0]), one)}{where}")
                for one in wanted
            ]
        )
        groups, named = self._grouped(rows, axes, level)
        made = window_rows.merged(rows, groups, named)
        if "time" in axes:  # each device is in one cohort
            counts = tuple(
                np.bincount(groups, weights=rows.keys[name], minlength=len(made)).astype(np.int64)
                for name in ("devices", "main_devices")
            )
        else:
            counts = self._distinct_devices(selection, level, axes, wanted, named)
        return self._table(made, axes, level, *counts)

    def _distinct_devices(
        self,
        selection: Selection,
        level: Level,
        axes: tuple[str, ...],
        wanted: list[tiles.Tile],
        named: dict[str, NDArray[np.int64]],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many devices are in each group, and of them own, in the order of ``named``."""
        where = self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        rows = pa.concat_tables(
            [
                self.engine.select(
                    "SELECT device, artifact, max(CASE WHEN device_seconds > 0 OR covered_seconds = 0 THEN 1 ELSE 0 END) "
                    f"AS own FROM {_within(window_table(one[0]), one)}{where} GROUP BY device, artifact"
                )
                for one in wanted
            ]
        )
        keys = {name: column(rows, name).astype(np.int64) for name in ("device", "artifact")}
        codes = {axis: self.selecting.axis(axis, keys, level) for axis in axes} or {
            "all": np.zeros(rows.num_rows, dtype=np.int64)
        }
        groups, _ = window_rows.grouped(codes)
        size, device, own = len(next(iter(named.values()))), keys["device"], column(rows, "own") == 1
        return distinct(groups, device, size), distinct(groups[own], device[own], size)

    def _table(
        self,
        made: WindowRows,
        axes: tuple[str, ...],
        level: Level,
        devices: NDArray[np.int64],
        main_devices: NDArray[np.int64],
    ) -> WindowTable:
        keys: list[NDArray[Any]] = []
        for axis in axes:
            values = made.keys[axis]
            keys.append(
                values if axis == "time" else np.array(self.selecting.texts(axis)[0], dtype=object)[values]
            )
        return WindowTable(
            axes=axes,
            keys=tuple(keys),
            level=level,
            devices=devices,
            main_devices=main_devices,
            hist=made.hist,
            **made.numbers,
        )


def _device_counts(
    rows: WindowRows, groups: NDArray[np.int64], axes: tuple[str, ...], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many devices are in each group, and how many with windows of their own models."""
    device, own = rows.keys["device"], is_own(rows)
    if "device" in axes:  # one in each
        mine = np.bincount(groups, weights=own, minlength=count) > 0
        return np.ones(count, dtype=np.int64), mine.astype(np.int64)
    return distinct(groups, device, count), distinct(groups[own], device[own], count)


def _within(table: str, tile: tiles.Tile) -> str:
    return f'{table} WHERE "time" >= {tile[1]} AND "time" < {tile[2]}'
