"""Questions to a store that are not for windows: devices, artifacts, events, readings, outputs, dead letters."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.review.store import clock_evidence, tiles, window_rows
from host_tools.review.store.boots import read_clock
from host_tools.review.store.clock_notes import clock_note
from host_tools.review.store.dirty_windows import read_heard
from host_tools.review.store.engine import one_of
from host_tools.review.store.input_answers import merged_inputs
from host_tools.review.store.message_ledger import holes
from host_tools.review.store.message_table import read_messages
from host_tools.review.store.model_names import model_names
from host_tools.review.store.schema import window_table
from host_tools.review.store.selecting import has_labels
from host_tools.review.store.window_rows import column
from host_tools.review.store.windows import (
    DeadLetter,
    Device,
    InputTable,
    Level,
    OutputTable,
    ReadingSeries,
    Selection,
    StoredEvent,
    check_axes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.message_table import MessageTable
    from host_tools.review.store.selecting import Selecting
    from host_tools.review.store.sensors import Sensors

_CONFIDENCE_STEPS = 20
_OfRuns = tuple[float, float, "str | None", str, int]
"""When a device was heard at first and at last, its latest artifact, the note on its clock, how many messages are missing."""
_NO_RUNS: _OfRuns = (np.nan, np.nan, None, "", 0)


@dataclass(frozen=True, slots=True)
class Answers:
    """What questions are answered with."""

    engine: Engine
    selecting: Selecting
    outputs: Keys
    sensors: Sensors

    def catch_up(self) -> None:
        """Read the keys that were committed since the last question."""
        if self.selecting.devices.reload_if_behind():
            self.selecting.cohorts.forget()
        self.selecting.artifacts.reload_if_behind()
        self.outputs.reload_if_behind()
        self.sensors.reload_if_behind()

    # --- devices ---

    def known_devices(self, labels: Sequence[tuple[str, str]]) -> tuple[Device, ...]:
        """See `TelemetryStore.devices`."""
        every = self.selecting.cohorts.sorted_labels()
        told = self.engine.select('SELECT id, "name", status, reason FROM device ORDER BY "name"').to_pylist()
        boots = self.engine.select("SELECT * FROM boot ORDER BY device, first_received, boot")
        runs = self._runs(boots) if boots.num_rows else {}
        found = []
        for row in told:
            key = row["id"]
            if labels and not has_labels(dict(every[key]), labels):
                continue
            first_received, last_received, artifact, clock_note, missing = runs.get(key, _NO_RUNS)
            found.append(
                Device(
                    device=row["name"],
                    first_received=first_received,
                    last_received=last_received,
                    status=row["status"],
                    reason=row["reason"],
                    artifact=artifact,
                    labels=every[key],
                    clock_note=clock_note,
                    missing=missing,
                )
            )
        return tuple(found)

    def _runs(self, boots: pa.Table) -> dict[int, _OfRuns]:
        """Return what the runs of each device tell, by its key; they are ordered by device and time."""
        device = column(boots, "device")
        begins = np.flatnonzero(np.diff(device, prepend=-1))
        latest = np.append(begins[1:], len(device)) - 1
        told = zip(
            column(boots, "first_received")[begins].tolist(),
            np.fmax.reduceat(column(boots, "last_received"), begins).tolist(),
            map(self.selecting.artifacts.name, column(boots, "artifact")[latest].tolist()),
            _notes(read_clock(boots), latest),
            np.add.reduceat(self._missing(column(boots, "boot")), begins).tolist(),
            strict=True,
        )
        return dict(zip(device[begins].tolist(), told, strict=True))

    def _missing(self, boots: NDArray[np.int64]) -> NDArray[np.int64]:
        stretches = read_heard(self.engine.select('SELECT * FROM heard ORDER BY boot, "first"'))
        order = np.argsort(boots)
        missing = np.zeros(len(boots), dtype=np.int64)
        if len(stretches):
            told = holes(stretches) + stretches.closed
            np.add.at(missing, order[np.searchsorted(boots[order], stretches.boot)], told)
        return missing

    def known_artifacts(self, selection: Selection) -> tuple[str, ...]:
        """See `TelemetryStore.artifacts`."""
        where = self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        first: dict[int, int] = {}
        for level, start, end in tiles.tiles(selection, Level.SECONDS_10, in_time=False):
            rows = self.engine.select(
                f'SELECT artifact, min("time") AS first FROM {window_table(level)} WHERE "time" >= {start} '
                f'AND "time" < {end} AND artifact > 0{where} GROUP BY artifact'
            )
            for row in rows.to_pylist():
                first[row["artifact"]] = min(row["first"], first.get(row["artifact"], row["first"]))
        latest_first = sorted(first, key=lambda key: (first[key], key), reverse=True)
        return tuple(name for key in latest_first if (name := self.selecting.artifacts.name(key)) is not None)

    def model_names(self) -> dict[str, str]:
        """See `TelemetryStore.model_names`."""
        return model_names(self.engine, self.selecting.artifacts)

    # --- single messages ---

    def events(
        self, selection: Selection, names: Sequence[str] | None, limit: int
    ) -> tuple[StoredEvent, ...]:
        """See `TelemetryStore.events`."""
        where = f"moment >= {selection.start!r} AND moment < {selection.end!r}"
        where += self.selecting.where(selection, self.selecting.keys_of_devices(selection))
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
            device=self.selecting.devices.name(int(str(row["device"]))) or "",
            time=float(str(row["moment"])),
            artifact=self.selecting.artifacts.name(int(str(row["artifact"]))),
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
        where += self.selecting.where(selection, self.selecting.keys_of_devices(selection))
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
                    device=self.selecting.devices.name(int(device[first])) or "",
                    name=name,
                    source=source,
                    scope=scope,
                    times=moment[first:end],
                    values=mean[first:end],
                )
            )
        return tuple(sorted(series, key=lambda one: (one.device, one.name, one.source, one.scope)))

    def messages_of(self, selection: Selection) -> MessageTable:
        """See `ColumnStore.messages`."""
        where = f"moment >= {selection.start!r} AND moment < {selection.end!r}"
        where += self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        return read_messages(self.engine, where)

    def outputs_of(self, selection: Selection, level: Level, by: Sequence[str]) -> OutputTable:
        """See `TelemetryStore.outputs`."""
        axes = check_axes(by)
        start, end = tiles.bounds(selection, level)
        where = f"moment >= {start} AND moment < {end}"
        where += self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        rows = self.engine.select(
            f"SELECT device, artifact, moment, output, top_index, top_value FROM output WHERE {where}"
        )
        return self._outputs(rows, axes, level)

    def _outputs(self, rows: pa.Table, axes: tuple[str, ...], level: Level) -> OutputTable:
        keys = self._keys(rows, axes, level)
        by_order, order = self._names()
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
        return OutputTable(
            axes=axes,
            keys=self._shown(named, axes),
            name=by_order[named["name"]],
            top_index=named["top_index"],
            count=np.bincount(groups, minlength=count),
            confidence=confidence.reshape(count, _CONFIDENCE_STEPS),
        )

    def inputs_of(self, selection: Selection, level: Level, by: Sequence[str]) -> InputTable:
        """See `TelemetryStore.inputs`."""
        axes = check_axes(by)
        start, end = tiles.bounds(selection, level)
        where = f"moment >= {start} AND moment < {end}"
        where += self.selecting.where(selection, self.selecting.keys_of_devices(selection))
        rows = self.engine.select(f"SELECT * FROM input WHERE {where}")
        by_order, order = self._names()
        named, columns = merged_inputs(
            rows, axes, self._keys(rows, axes, level), order[column(rows, "output")]
        )
        return InputTable(axes=axes, keys=self._shown(named, axes), name=by_order[named["name"]], **columns)

    def _keys(self, rows: pa.Table, axes: tuple[str, ...], level: Level) -> dict[str, NDArray[np.int64]]:
        keys: dict[str, NDArray[np.int64]] = {}
        for axis in axes:
            if axis == "time":
                keys[axis] = np.floor(column(rows, "moment") / level.seconds).astype(np.int64) * level.seconds
            else:
                of = column(rows, "artifact" if axis == "artifact" else "device")
                keys[axis] = self.selecting.texts(axis)[1][of]
        return keys

    def _shown(
        self, named: Mapping[str, NDArray[np.int64]], axes: tuple[str, ...]
    ) -> tuple[NDArray[Any], ...]:
        return tuple(
            named[axis]
            if axis == "time"
            else np.array(self.selecting.texts(axis)[0], dtype=object)[named[axis]]
            for axis in axes
        )

    def _names(self) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Return the names of outputs and inputs in order, and the place of each by its key."""
        names = [name or "" for name in self.outputs.all()]
        return np.array(sorted(names), dtype=object), np.argsort(np.argsort(np.array(names)))

    def unmade_since(self) -> float | None:
        """See `TelemetryStore.unmade_since`."""
        (row,) = self.engine.select('SELECT count(*) AS windows, min("time") AS first FROM dirty').to_pylist()
        return float(row["first"]) if row["windows"] else None

    def dead_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """See `TelemetryStore.dead_letters`."""
        rows = self.engine.select(
            f"SELECT received, topic, payload, payload_bytes, reason FROM dead_letter ORDER BY received DESC LIMIT {int(limit)}"
        )
        return tuple(
            DeadLetter(**{**row, "payload": base64.b64decode(row["payload"])}) for row in rows.to_pylist()
        )


def _notes(states: NDArray[np.float64], latest: NDArray[np.int64]) -> list[str]:
    """Return the clock's note of each device's latest run."""
    noted = clock_evidence.is_wrong(states) | clock_evidence.is_unsynced(states)
    return [clock_note(states[run : run + 1]) if noted[run] else "" for run in latest.tolist()]


def _is_plain(name: str) -> bool:
    return name.replace("_", "").isalnum() and name.isascii()
