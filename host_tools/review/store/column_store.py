"""`ColumnStore`: `TelemetryStore` over any `Engine`."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from host_tools.errors import StoreError
from host_tools.review.store.answers import Answers
from host_tools.review.store.boots import Boots
from host_tools.review.store.cohorts import Cohorts
from host_tools.review.store.dead_letters import DeadLetters
from host_tools.review.store.keys import Keys
from host_tools.review.store.limits import Limits
from host_tools.review.store.model_names import ModelNames
from host_tools.review.store.parquet import export_parquet, import_parquet
from host_tools.review.store.retaining import keep, retain, retention
from host_tools.review.store.rolling_up import RollingUp
from host_tools.review.store.selecting import Selecting
from host_tools.review.store.sensors import Sensors
from host_tools.review.store.window_answers import WindowAnswers
from host_tools.review.store.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.message_table import MessageTable
    from host_tools.review.store.tables import Batch
    from host_tools.review.store.telemetry_store import Retention
    from host_tools.review.store.windows import (
        DeadLetter,
        Device,
        InputTable,
        Level,
        OutputTable,
        ReadingSeries,
        Selection,
        StoredEvent,
        WindowTable,
        Written,
    )


_SLICE_WINDOWS = 15_000
"""Of 10 s that are made at once where somebody waits."""


class ColumnStore:
    """See `telemetry_store.TelemetryStore`."""

    def __init__(self, engine: Engine, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._engine = engine
        self._turn = threading.RLock()
        devices, artifacts, outputs = (
            Keys(engine, table, limits.room(most))
            for table, most in (
                ("device", limits.devices),
                ("artifact", limits.artifacts),
                ("output_name", limits.outputs),
            )
        )
        sensors = Sensors(engine, limits.room(limits.sensors))
        self._keys = (devices, artifacts, outputs, sensors)
        self._boots = Boots(engine)
        self._cohorts = Cohorts(engine, devices, limits)
        self._writing = Writing(
            engine,
            devices,
            artifacts,
            outputs,
            sensors,
            self._boots,
            self._cohorts,
            ModelNames(engine, artifacts),
            DeadLetters(engine, limits),
            limits.holes,
        )
        self._rolling_up = RollingUp(engine, sensors, self._boots, self._cohorts)
        self._steps: Iterator[tuple[int, float]] | None = None
        # Who asks has keys of its own, of what is committed: the writer's are ahead of it, and change meanwhile.
        known = Keys(engine, "device")
        selecting = Selecting(known, Keys(engine, "artifact"), Cohorts(engine, known, limits))
        self._answers = Answers(engine, selecting, Keys(engine, "output_name"), Sensors(engine))
        self._window_answers = WindowAnswers(engine, selecting)
        self._asking = threading.RLock()
        self._is_closed = False
        self._labels_changed = threading.Event()

    def write(self, batch: Batch) -> Written:
        """See `TelemetryStore.write`."""
        with self._turn:
            try:
                with self._engine.transaction():
                    written = self._writing.write(batch)
            except BaseException:
                self._forget()
                raise
            if "birth" in batch.rows:
                self._labels_changed.set()
            return written

    def roll_up(self, *, progress: Callable[[float], None] | None = None) -> int:
        """See `TelemetryStore.roll_up`."""
        with self._turn:
            self._steps = None
            return self._rolling_up.run(progress)

    def roll_up_for(self, seconds: float) -> bool:
        """See `TelemetryStore.roll_up_for`."""
        end = time.monotonic() + seconds
        with self._turn:
            steps = self._steps or self._rolling_up.steps(most_windows=_SLICE_WINDOWS)
            self._steps = None  # a failure ends it
            for _ in steps:
                if time.monotonic() >= end:
                    self._steps = steps
                    return False
            return True

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """See `TelemetryStore.windows`."""
        with self._asked():
            return self._window_answers.windows(selection, level=level, by=by)

    def outputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> OutputTable:
        """See `TelemetryStore.outputs`."""
        with self._asked():
            return self._answers.outputs_of(selection, level, by)

    def inputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> InputTable:
        """See `TelemetryStore.inputs`."""
        with self._asked():
            return self._answers.inputs_of(selection, level, by)

    def devices(self, *, labels: Sequence[tuple[str, str]] = ()) -> tuple[Device, ...]:
        """See `TelemetryStore.devices`."""
        with self._asked():
            return self._answers.known_devices(labels)

    def artifacts(self, selection: Selection) -> tuple[str, ...]:
        """See `TelemetryStore.artifacts`."""
        with self._asked():
            return self._answers.known_artifacts(selection)

    def model_names(self) -> Mapping[str, str]:
        """See `TelemetryStore.model_names`."""
        with self._asked():
            return self._answers.model_names()

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """See `TelemetryStore.events`."""
        with self._asked():
            return self._answers.events(selection, names, limit)

    def readings(
        self, selection: Selection, *, names: Sequence[str] | None = None, points: int = 2000
    ) -> tuple[ReadingSeries, ...]:
        """See `TelemetryStore.readings`."""
        with self._asked():
            return self._answers.readings(selection, names, points)

    def messages(self, selection: Selection) -> MessageTable:
        """Return when messages of a selection were made and when they arrived; they are kept for `Retention.messages_days`."""
        with self._asked():
            return self._answers.messages_of(selection)

    def dead_letters(self, *, limit: int = 100) -> tuple[DeadLetter, ...]:
        """See `TelemetryStore.dead_letters`."""
        with self._asked():
            return self._answers.dead_letters(limit)

    def unmade_since(self) -> float | None:
        """See `TelemetryStore.unmade_since`."""
        with self._asked():
            return self._answers.unmade_since()

    def label(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """See `TelemetryStore.label`."""
        given = [(device, key, value) for device, pairs in labels.items() for key, value in pairs.items()]
        if not given:
            return
        device, key, value = (pa.array(column, pa.string()) for column in zip(*given, strict=True))
        rows = pa.table({"device": device, "key": key, "value": value})
        with self._turn:
            try:
                with self._engine.transaction():
                    self._engine.remove("label", rows.select(["device", "key"]))
                    self._engine.append("label", rows.filter(pc.not_equal(value, "")))
                    self._cohorts.assign()
            except BaseException:
                self._forget()
                raise
            self._labels_changed.set()

    def retention(self) -> Retention:
        """See `TelemetryStore.retention`."""
        with self._asked():
            return retention(self._engine)

    def keep(self, retention: Retention) -> None:
        """See `TelemetryStore.keep`."""
        with self._turn:
            keep(self._engine, retention)

    def retain(self, retention: Retention, *, now: float) -> int:
        """See `TelemetryStore.retain`."""
        with self._turn:
            self.roll_up()
            gone = retain(self._engine, retention, now=now)
            self._boots.forget()
            return gone

    def export_parquet(self, folder: Path) -> None:
        """See `TelemetryStore.export_parquet`."""
        with self._turn:
            export_parquet(self._engine, folder)

    def import_parquet(self, folder: Path) -> int:
        """See `TelemetryStore.import_parquet`."""
        with self._turn:
            try:
                return import_parquet(self._engine, folder)
            finally:
                self._forget()
                self._labels_changed.set()

    def backup(self, path: Path) -> None:
        """See `TelemetryStore.backup`."""
        if not self._engine.backup(path):
            self.export_parquet(path)

    def close(self) -> None:
        """See `TelemetryStore.close`; a question that is being answered is waited for, and none comes after it."""
        with self._asking, self._turn:
            self._is_closed = True
            self._engine.close()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """One question at a time, of one moment; whoever writes goes on meanwhile."""
        with self._asking:
            if self._is_closed:
                raise StoreError(f"{self._engine.where}: is closed.")
            # Looked at before the moment is chosen: a change in between is seen by the next question.
            if self._labels_changed.is_set():
                self._labels_changed.clear()
                self._answers.selecting.cohorts.forget()
            with self._engine.snapshot():
                self._answers.catch_up()
                yield

    def _forget(self) -> None:
        """Forget what a failed transaction gave keys to."""
        self._writing.alarms.forget()
        self._writing.names.forget()
        self._writing.letters.reload()
        for keys in self._keys:
            keys.reload()
        self._boots.forget()
        self._cohorts.reload()
