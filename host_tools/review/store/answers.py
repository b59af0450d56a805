"""Questions to a store: windows merged as asked, devices, events, readings, outputs, dead letters."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from host_tools.review.store import clock_evidence, tiles, window_rows
from host_tools.review.store.boots import read_clock
from host_tools.review.store.clock_notes import clock_note
from host_tools.review.store.engine import one_of
from host_tools.review.store.fleets import ALL_ARTIFACTS, distinct, read_fleet
from host_tools.review.store.message_ledger import holes
from host_tools.review.store.schema import fleet_table, window_table
from host_tools.review.store.window_facts import KEYS
from host_tools.review.store.window_rows import WindowRows, column
from host_tools.review.store.windows import (
    DeadLetter,
    Device,
    Level,
    OutputTable,
    ReadingSeries,
    Selection,
    StoredEvent,
    WindowTable,
    check_axes,
)
from host_tools.review.store.writing import read_heard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.cohorts import Cohorts
    from host_tools.review.store.engine import Engine
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.sensors import Sensors

_CONFIDENCE_STEPS = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """What questions are answered with."""

    engine: Engine
    devices: Keys
    artifacts: Keys
    outputs: Keys
    sensors: Sensors
    cohorts: Cohorts

    def catch_up(self) -> None:
        """Read the keys that were committed since the last question."""
        if self.devices.reload_if_behind():
            self.cohorts.forget()
        self.artifacts.reload_if_behind()
        self.outputs.reload_if_behind()
        self.sensors.reload_if_behind()

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """See `TelemetryStore.windows`."""
        axes = check_axes(by)
        wanted = tiles.tiles(selection, level, in_time="time" in axes)
        if self._is_of_fleets(selection, axes, wanted):
            return self._fleet_windows(selection, level, axes, wanted)
        where = self._where(selection, self._devices(selection))
        found = [
            self.engine.select(f"SELECT * FROM {_within(window_table(one[0]), one)}{where}") for one in wanted
        ]
        rows = window_rows.read(window_rows.concatenated(found), KEYS)
        groups, named = self._grouped(rows, axes, level)
        made = window_rows.merged(rows, groups, named)
        return self._table(made, axes, level, distinct(groups, rows.keys["device"], len(made)))

    def _grouped(
        self, rows: WindowRows, axes: tuple[str, ...], level: Level
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        keys = {axis: self._axis(axis, rows.keys, level) for axis in axes}
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
        if not labels <= self.cohorts.keys():
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
        told = self.cohorts.told()
        where = ""
        if selection.labels:
            where = f" AND {one_of('cohort', [key for key, own in enumerate(told) if _has(own, selection.labels)])}"
        if "artifact" in axes or selection.artifacts is not None:
            where += f" AND artifact <> {ALL_ARTIFACTS}" + self._where(selection, None)
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
            devices = np.bincount(groups, weights=rows.keys["devices"], minlength=len(made)).astype(np.int64)
        else:
            devices = self._distinct_devices(selection, level, axes, wanted, named)
        return self._table(made, axes, level, devices)

    def _distinct_devices(
        self,
        selection: Selection,
        level: Level,
        axes: tuple[str, ...],
        wanted: list[tiles.Tile],
        named: dict[str, NDArray[np.int64]],
    ) -> NDArray[np.int64]:
        """Return how many devices are in each group, in the order of ``named``."""
        where = self._where(selection, self._devices(selection))
        rows = pa.concat_tables(
            [
                self.engine.select(
                    f"SELECT DISTINCT device, artifact FROM {_within(window_table(one[0]), one)}{where}"
                )
                for one in wanted
            ]
        )
        keys = {name: column(rows, name).astype(np.int64) for name in ("device", "artifact")}
        codes = {axis: self._axis(axis, keys, level) for axis in axes} or {
            "all": np.zeros(rows.num_rows, dtype=np.int64)
        }
        groups, _ = window_rows.grouped(codes)
        return distinct(groups, keys["device"], len(next(iter(named.values()))))

    def _where(self, selection: Selection, devices: NDArray[np.int64] | None) -> str:
        where = "" if devices is None else f" AND {one_of('device', devices)}"
        if selection.artifacts is not None:
            keys = [key for name in selection.artifacts if (key := self.artifacts.of(name)) is not None]
            where += f" AND {one_of('artifact', keys)}"
        return where

    def _devices(self, selection: Selection) -> NDArray[np.int64] | None:
        """Return the keys of the devices that are meant; None for all."""
        if selection.devices is None and not selection.labels:
            return None
        named = self.devices.ids() if selection.devices is None else selection.devices
        keys = {key for name in named if (key := self.devices.of(name)) is not None}
        if selection.labels:
            labels = self.cohorts.labels()
            keys = {key for key in keys if _has(labels.get(key, {}), selection.labels)}
        return np.array(sorted(keys), dtype=np.int64)

    def _axis(self, axis: str, keys: Mapping[str, NDArray[np.int64]], level: Level) -> NDArray[np.int64]:
        """Return a number for each row by which its values on an axis are ordered, none last."""
        if axis == "time":
            return keys["time"] // level.seconds * level.seconds
        if axis.startswith("label:") and "cohort" in keys:
            told = [own.get(axis[6:]) for own in self.cohorts.told()]
            places = {text: place for place, text in enumerate(self._texts(axis)[0])}
            return np.array([places.get(text, places[None]) for text in told], dtype=np.int64)[keys["cohort"]]
        return self._texts(axis)[1][keys["artifact" if axis == "artifact" else "device"]]

    def _texts(self, axis: str) -> tuple[list[str | None], NDArray[np.int64]]:
        """Return the texts of an axis in order, None last, and the place of each key of an artifact or device."""
        if axis.startswith("label:"):
            labels = self.cohorts.labels()
            of_key = [labels.get(key, {}).get(axis[6:]) for key in range(len(self.devices))]
        else:
            of_key = (self.artifacts if axis == "artifact" else self.devices).all()
        texts: list[str | None] = [*sorted({text for text in of_key if text is not None}), None]
        places = {text: place for place, text in enumerate(texts)}
        return texts, np.array([places[text] for text in of_key], dtype=np.int64)

    def _table(
        self, made: WindowRows, axes: tuple[str, ...], level: Level, devices: NDArray[np.int64]
    ) -> WindowTable:
        keys: list[NDArray[Any]] = []
        for axis in axes:
            values = made.keys[axis]
            keys.append(values if axis == "time" else np.array(self._texts(axis)[0], dtype=object)[values])
        return WindowTable(
            axes=axes, keys=tuple(keys), level=level, devices=devices, hist=made.hist, **made.numbers
        )

    # --- devices ---

    def known_devices(self, labels: Sequence[tuple[str, str]]) -> tuple[Device, ...]:
        """See `TelemetryStore.devices`."""
        every = self.cohorts.labels()
        told = self.engine.select('SELECT id, "name", status, reason FROM device ORDER BY "name"').to_pylist()
        boots = self.engine.select("SELECT * FROM boot ORDER BY device, first_received, boot")
        device, artifact = column(boots, "device"), column(boots, "artifact")
        missing = self._missing(column(boots, "boot"))
        first, last = (
            column(boots, "first_received"),
            np.nan_to_num(column(boots, "last_received"), nan=-np.inf),
        )
        begins = np.searchsorted(device, [row["id"] for row in told], side="left")
        ends = np.searchsorted(device, [row["id"] for row in told], side="right")
        running = np.concatenate(([0], np.cumsum(missing)))
        notes = _notes(read_clock(boots), np.where(ends > begins, ends - 1, -1))
        found = []
        for place, row in enumerate(told):
            own, begin, end = every[row["id"]], int(begins[place]), int(ends[place])
            if not _has(own, labels):
                continue
            heard = float(last[begin:end].max()) if end > begin else -np.inf
            found.append(
                Device(
                    device=row["name"],
                    first_received=float(first[begin]) if end > begin else np.nan,
                    last_received=heard if np.isfinite(heard) else np.nan,
                    status=row["status"],
                    reason=row["reason"],
                    artifact=self.artifacts.name(int(artifact[end - 1])) if end > begin else None,
                    labels=tuple(sorted(own.items())),
                    clock_note=notes[place],
                    missing=int(running[end] - running[begin]),
                )
            )
        return tuple(found)

    def _missing(self, boots: NDArray[np.int64]) -> NDArray[np.int64]:
        stretches = read_heard(self.engine.select('SELECT * FROM heard ORDER BY boot, "first"'))
        order = np.argsort(boots)
        missing = np.zeros(len(boots), dtype=np.int64)
        if len(stretches):
            np.add.at(missing, order[np.searchsorted(boots[order], stretches.boot)], holes(stretches))
        return missing

    def known_artifacts(self, selection: Selection) -> tuple[str, ...]:
        """See `TelemetryStore.artifacts`."""
        where = self._where(selection, self._devices(selection))
        first: dict[int, int] = {}
        for level, start, end in tiles.tiles(selection, Level.SECONDS_10, in_time=False):
            rows = self.engine.select(
                f'SELECT artifact, min("time") AS first FROM {window_table(level)} WHERE "time" >= {start} '
                f'AND "time" < {end} AND artifact > 0{where} GROUP BY artifact'
            )
            for row in rows.to_pylist():
                first[row["artifact"]] = min(row["first"], first.get(row["artifact"], row["first"]))
        latest_first = sorted(first, key=lambda key: (first[key], key), reverse=True)
        return tuple(name for key in latest_first if (name := self.artifacts.name(key)) is not None)

    # --- single messages ---

    def events(
        self, selection: Selection, names: Sequence[str] | None, limit: int
    ) -> tuple[StoredEvent, ...]:
        """See `TelemetryStore.events`."""
        where = f"moment >= {selection.start!r} AND moment < {selection.end!r}"
        where += self._where(selection, self._devices(selection))
        found: list[StoredEvent] = []
        for kind, table, columns in (
            ("event", "event", '"name", severity, "text", details'),
            ("health", "health", "status AS \"name\", '' AS severity, reason AS \"text\", '{}' AS details"),
            ("alarm", "alarm", '"name", severity, "text", \'{}\' AS details'),
        ):
            named = ""
            if names is not None:
                listed = [name for name in names if _is_plain(name)]
                listed_text = ",".join(f"'{name}'" for name in listed)
                shown = "status" if table == "health" else '"name"'
                named = f" AND {shown} IN ({listed_text})" if listed else " AND 1 = 0"
            rows = self.engine.select(
                f"SELECT device, artifact, moment, {columns} FROM {table} WHERE {where}{named} "
                f"ORDER BY moment DESC, seq DESC LIMIT {int(limit)}"
            )
            found += [self._event(kind, row) for row in rows.to_pylist()]
        found.sort(key=lambda one: one.time)
        return tuple(found[-limit:] if limit else ())

    def _event(self, kind: str, row: Mapping[str, object]) -> StoredEvent:
        severity = str(row["severity"])
        if kind == "health":
            severity = {"up": "info", "draining": "info", "degraded": "warning"}.get(
                str(row["name"]), "error"
            )
        return StoredEvent(
            device=self.devices.name(int(str(row["device"]))) or "",
            time=float(str(row["moment"])),
            artifact=self.artifacts.name(int(str(row["artifact"]))),
            kind=kind,  # type: ignore[arg-type]  # one of the three above
            name=str(row["name"]),
            severity=severity,
            text=str(row["text"]),
            details=str(row["details"]),
        )

    def readings(
        self, selection: Selection, names: Sequence[str] | None, points: int
    ) -> tuple[ReadingSeries, ...]:
        """See `TelemetryStore.readings`."""
        where = f"moment >= {selection.start!r} AND moment < {selection.end!r}"
        where += self._where(selection, self._devices(selection))
        if names is not None:
            where += f" AND {one_of('sensor', self.sensors.named(tuple(names)))}"
        step = max((selection.end - selection.start) / max(points, 1), 1e-6)
        rows = self.engine.select(
            f"SELECT device, sensor, floor((moment - {selection.start!r}) / {step!r}) AS step, "
            f'avg(moment) AS moment, avg("value") AS mean FROM reading WHERE {where} '
            "GROUP BY device, sensor, step ORDER BY device, sensor, step"
        )
        device, sensor = column(rows, "device"), column(rows, "sensor")
        moment, mean = column(rows, "moment"), column(rows, "mean")
        begins = np.flatnonzero(
            np.concatenate(([True], (device[1:] != device[:-1]) | (sensor[1:] != sensor[:-1])))[: len(device)]
        )
        series = []
        for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(device)], strict=False):
            _, name, source, scope, _ = self.sensors.told(int(sensor[first]))
            series.append(
                ReadingSeries(
                    device=self.devices.name(int(device[first])) or "",
                    name=name,
                    source=source,
                    scope=scope,
                    times=moment[first:end],
                    values=mean[first:end],
                )
            )
        return tuple(sorted(series, key=lambda one: (one.device, one.name, one.source, one.scope)))

    def outputs_of(self, selection: Selection, level: Level, by: Sequence[str]) -> OutputTable:
        """See `TelemetryStore.outputs`."""
        axes = check_axes(by)
        start, end = tiles.bounds(selection, level)
        where = f"moment >= {start} AND moment < {end}"
        where += self._where(selection, self._devices(selection))
        rows = self.engine.select(
            f"SELECT device, artifact, moment, output, top_index, top_value FROM output WHERE {where}"
        )
        return self._outputs(rows, axes, level)

    def _outputs(self, rows: pa.Table, axes: tuple[str, ...], level: Level) -> OutputTable:
        keys: dict[str, NDArray[np.int64]] = {}
        for axis in axes:
            if axis == "time":
                keys[axis] = np.floor(column(rows, "moment") / level.seconds).astype(np.int64) * level.seconds
            else:
                of = column(rows, "artifact" if axis == "artifact" else "device")
                keys[axis] = self._texts(axis)[1][of]
        names = self.outputs.all()
        order = np.argsort(np.argsort(np.array([name or "" for name in names])))
        keys["name"] = order[column(rows, "output")]
        keys["top_index"] = column(rows, "top_index")
        groups, named = window_rows.grouped(keys)
        count = len(named["name"])
        value = column(rows, "top_value")
        finite = np.where(np.isfinite(value), value, 0.0)
        step = np.clip(np.floor(finite * _CONFIDENCE_STEPS), 0, _CONFIDENCE_STEPS - 1).astype(np.int64)
        told = np.isfinite(value)
        confidence = np.bincount(
            groups[told] * _CONFIDENCE_STEPS + step[told], minlength=count * _CONFIDENCE_STEPS
        )
        by_order = np.array(sorted(name or "" for name in names), dtype=object)
        shown: list[NDArray[Any]] = []
        for axis in axes:
            values = named[axis]
            shown.append(values if axis == "time" else np.array(self._texts(axis)[0], dtype=object)[values])
        return OutputTable(
            axes=axes,
            keys=tuple(shown),
            name=by_order[named["name"]],
            top_index=named["top_index"],
            count=np.bincount(groups, minlength=count),
            top_value_sum=_weighed(groups, finite, count),
            top_value_square_sum=_weighed(groups, finite**2, count),
            confidence=confidence.reshape(count, _CONFIDENCE_STEPS),
        )

    def dead_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """See `TelemetryStore.dead_letters`."""
        rows = self.engine.select(
            f"SELECT received, topic, payload, payload_bytes, reason FROM dead_letter ORDER BY received DESC LIMIT {int(limit)}"
        )
        return tuple(
            DeadLetter(**{**row, "payload": base64.b64decode(row["payload"])}) for row in rows.to_pylist()
        )


def _has(labels: Mapping[str, str], wanted: Sequence[tuple[str, str]]) -> bool:
    return all(labels.get(key) == value for key, value in wanted)


def _notes(states: NDArray[np.float64], latest: NDArray[np.int64]) -> list[str]:
    """Return the clock's note of each device's latest run; -1 is none."""
    noted = clock_evidence.is_wrong(states) | clock_evidence.is_unsynced(states)
    return [clock_note(states[run : run + 1]) if run >= 0 and noted[run] else "" for run in latest.tolist()]


def _within(table: str, tile: tiles.Tile) -> str:
    return f'{table} WHERE "time" >= {tile[1]} AND "time" < {tile[2]}'


def _weighed(groups: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.bincount(groups, weights=values, minlength=count).astype(np.float64)


def _is_plain(name: str) -> bool:
    return name.replace("_", "").isalnum() and name.isascii()
