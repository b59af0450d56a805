"""`Cohorts`: labels of devices, and the groups of devices that fleets are rolled up by.

A cohort is what devices have in common that lasts: target, machine, and what users gave labels for. What changes with an
update (model, engine, agent) is no part of it: it would move a device's whole past at every update.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store.engine import one_of
from host_tools.review.store.keys import NONE, REFUSED, Keys
from host_tools.review.store.limits import Room
from host_tools.review.store.schema import window_table
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.limits import Limits

_LASTING = ("target", "machine")
_FRESH_SECONDS = 10.0
"""For so long labels are believed that another process may have changed."""


class Cohorts:
    """Labels and cohorts of devices; what is held is forgotten when it changes."""

    def __init__(self, engine: Engine, devices: Keys, limits: Limits) -> None:
        self._engine = engine
        self._devices = devices
        self._most = limits.cohorts
        self._keys = Keys(
            engine, "cohort", Room(most=limits.cohorts, characters=sys.maxsize, of_one_device=limits.cohorts)
        )
        self.forget()

    def forget(self) -> None:
        """Hold nothing."""
        self._read_at = -1e9
        self._labels: dict[int, dict[str, str]] = {}
        self._sorted: dict[int, tuple[tuple[str, str], ...]] | None = None
        self._given: frozenset[str] = frozenset()

    def reload(self) -> None:
        """Forget what was not committed."""
        self._keys.reload()
        self.forget()

    def labels(self) -> Mapping[int, Mapping[str, str]]:
        """Return the labels of every device by its key: those of its latest birth, and users', which win."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            self._read()
        return self._labels

    def sorted_labels(self) -> Mapping[int, tuple[tuple[str, str], ...]]:
        """Return the same, each device's in the order of their names."""
        labels = self.labels()
        if self._sorted is None:
            self._sorted = {key: tuple(sorted(own.items())) for key, own in labels.items()}
        return self._sorted

    def keys(self) -> frozenset[str]:
        """Return the names of the labels that every cohort tells."""
        self.labels()
        return frozenset(_LASTING) | self._given

    def told(self) -> list[Mapping[str, str]]:
        """Return the labels of each cohort, by its key."""
        rows = self._engine.select('SELECT "name" FROM cohort ORDER BY id')
        return [{}, *(json.loads(name) for name in rows.column("name").to_pylist())]

    def are_all_told(self) -> bool:
        """Return whether each device is in the cohort of its labels: there is room for so many, and the others are in none."""
        rows = self._engine.select("SELECT count(*) AS size FROM cohort")
        return int(rows.column("size")[0].as_py()) < self._most

    def of_devices(self) -> NDArray[np.int64]:
        """Return the cohort of each device, by its key."""
        rows = self._engine.select("SELECT id, cohort FROM device")
        cohorts = np.zeros(len(self._devices), dtype=np.int64)
        cohorts[rows.column("id").to_numpy()] = rows.column("cohort").to_numpy()
        return cohorts

    def assign(self, devices: Iterable[int] | None = None) -> None:
        """Bring the cohorts of devices up to date (of all when None), and mark their fleets' windows that change with it."""
        self.forget()
        labels, names = self.labels(), sorted(self.keys())
        chosen = labels if devices is None else {key: labels[key] for key in set(devices) if key in labels}
        if not chosen:
            return
        own = [
            json.dumps({name: told[name] for name in names if name in told}, ensure_ascii=False)
            for told in chosen.values()
        ]
        cohorts, fresh = self._keys.give(own)
        cohorts = np.where(cohorts == REFUSED, NONE, cohorts)
        self._keys.write(fresh)
        rows = self._engine.select(f"SELECT * FROM device WHERE {one_of('id', chosen)}")
        by_id = dict(zip(chosen, cohorts.tolist(), strict=True))
        now = np.array([by_id[key] for key in rows.column("id").to_pylist()], dtype=np.int32)
        moved = np.flatnonzero(now != rows.column("cohort").to_numpy())
        if not len(moved):
            return
        rows = rows.take(pa.array(moved))
        rows = rows.set_column(rows.column_names.index("cohort"), "cohort", pa.array(now[moved]))
        self._engine.replace("device", rows)
        for level in Level:
            times = self._engine.select(
                f'SELECT DISTINCT "time" FROM {window_table(level)} '
                f"WHERE {one_of('device', rows.column('id').to_numpy())}"
            )
            mark_fleets(self._engine, level, times.column("time").to_numpy())

    def _read(self) -> None:
        self._devices.reload_if_behind()
        rows = self._engine.select("SELECT id, birth FROM device").to_pylist()
        births = {birth: json.loads(birth) for birth in {row["birth"] for row in rows}}  # many say the same
        found: dict[int, dict[str, str]] = {row["id"]: dict(births[row["birth"]]) for row in rows}
        given = self._engine.select('SELECT device, "key", "value" FROM label').to_pylist()
        for row in given:
            key = self._devices.of(row["device"])
            if key is not None:
                found.setdefault(key, {})[row["key"]] = row["value"]
        self._sorted = None
        self._labels, self._given = found, frozenset(row["key"] for row in given)
        self._read_at = time.monotonic()


def mark_fleets(engine: Engine, level: Level, times: NDArray[np.int64]) -> None:
    """Mark the windows of fleets that must be made anew."""
    times = np.unique(times)
    if len(times):
        levels = pa.array(np.full(len(times), level.seconds), pa.int32())
        engine.replace("dirty_fleet", pa.table({"level": levels, "time": times}))
