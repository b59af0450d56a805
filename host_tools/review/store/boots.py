"""`Boots`: what is known of each run of an agent, held in memory for those that speak, written with every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from host_tools.review.store import clock_evidence
from host_tools.review.store.engine import one_of, one_of_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine

_MOST_HELD = 400_000
"""Runs in memory, some 600 bytes each; beyond it all are forgotten and read again as they speak."""
_COLUMNS: dict[str, tuple[type, float]] = {
    "boot": (np.int64, 0),
    "device": (np.int64, 0),
    "first_received": (np.float64, np.inf),
    "last_received": (np.float64, np.nan),
    "low_uptime": (np.float64, np.inf),
    "high_uptime": (np.float64, -np.inf),
    "high_seq": (np.int64, -1),
    "artifact": (np.int64, 0),
    "cap_seq": (np.int64, -1),
    "cap": (np.float64, np.nan),
    "placed_wrong": (np.bool_, False),
    "placed_start": (np.float64, np.nan),
}
"""Of the table `boot`, with what a run has that was not heard."""


class Boots:
    """Rows of runs, by place. ``columns`` has one array a column; only the first ``len`` elements mean anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.forget()

    def forget(self) -> None:
        """Hold nothing: what there is, is in the database."""
        self._places: dict[tuple[int, str], int] = {}
        self._ids: list[str] = []
        self._size = 0
        self.columns: dict[str, NDArray[Any]] = {
            name: np.full(1024, empty, dtype=kind) for name, (kind, empty) in _COLUMNS.items()
        }
        self.clock = np.tile(clock_evidence.NOTHING, (1024, 1))
        highest = self._engine.select("SELECT coalesce(max(boot), 0) AS highest FROM boot")
        self._highest = int(highest.column("highest")[0].as_py())

    def __len__(self) -> int:
        return self._size

    def places(self, runs: Sequence[tuple[int, str]]) -> NDArray[np.int64]:
        """Return the place of each run (device's key, boot id); those that are new get one."""
        if self._size > _MOST_HELD:
            self.forget()
        self._hold([run for run in runs if run not in self._places])
        found = np.empty(len(runs), dtype=np.int64)
        for number, run in enumerate(runs):
            place = self._places.get(run)
            if place is None:
                place = self._appended(1)
                self._highest += 1
                self._places[run] = place
                self._ids.append(run[1])
                self.columns["boot"][place] = self._highest
                self.columns["device"][place] = run[0]
            found[number] = place
        return found

    def id_at(self, place: int) -> str:
        """Return the boot id of the run at a place."""
        return self._ids[place]

    def rows(self, places: NDArray[np.int64]) -> pa.Table:
        """Return rows as the table has them."""
        made: dict[str, pa.Array] = {name: pa.array(values[places]) for name, values in self.columns.items()}
        made["device"] = made["device"].cast(pa.int32())
        made["artifact"] = made["artifact"].cast(pa.int32())
        made["boot_id"] = pa.array([self._ids[place] for place in places.tolist()], pa.string())
        states = self.clock[places]
        wrong, start = clock_evidence.is_wrong(states), clock_evidence.starts(states)
        made["is_moved"] = pa.array(
            (wrong != self.columns["placed_wrong"][places])
            | (wrong & (start != self.columns["placed_start"][places]))
        )
        made["clock"] = pa.ListArray.from_arrays(
            pa.array(np.arange(len(places) + 1, dtype=np.int32) * clock_evidence.WIDTH),
            pa.array(states.reshape(-1)),
        )
        return pa.table(made)

    def _hold(self, runs: Sequence[tuple[int, str]]) -> None:
        """Read runs that are not held, as far as they are there; not all of a device, which may have any number."""
        if not runs or not self._highest:
            return
        rows = self._engine.select(
            f"SELECT * FROM boot WHERE {one_of('device', (device for device, _ in runs))} "
            f"AND {one_of_texts('boot_id', (boot_id for _, boot_id in runs))}"
        )
        found = zip(rows.column("device").to_pylist(), rows.column("boot_id").to_pylist(), strict=True)
        wanted = set(runs)
        rows = rows.filter(pa.array([one in wanted for one in found], pa.bool_()))
        first = self._appended(rows.num_rows)
        for name in _COLUMNS:
            self.columns[name][first : first + rows.num_rows] = rows.column(name).to_numpy()
        self.clock[first : first + rows.num_rows] = read_clock(rows)
        self._ids += rows.column("boot_id").to_pylist()
        for place in range(first, first + rows.num_rows):
            self._places[int(self.columns["device"][place]), self._ids[place]] = place

    def _appended(self, count: int) -> int:
        first = self._size
        self._size += count
        while self._size > len(self.clock):
            for name, (kind, empty) in _COLUMNS.items():
                more: NDArray[Any] = np.full(len(self.clock), empty, dtype=kind)
                self.columns[name] = np.concatenate((self.columns[name], more))
            self.clock = np.concatenate((self.clock, np.tile(clock_evidence.NOTHING, (len(self.clock), 1))))
        return first


def read_clock(rows: pa.Table) -> clock_evidence.Matrix:
    """Return the column ``clock`` of rows of the table `boot`."""
    values = [chunk.flatten().to_numpy() for chunk in rows.column("clock").chunks]
    flat = np.concatenate(values) if values else np.zeros(0)
    return flat.reshape(rows.num_rows, clock_evidence.WIDTH)
