"""`Sensors`: keys of sensors, and what each one's readings mean for windows (as `power`, `watch` and the agent have it)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.sensor_role import Role, thermal_role
from host_tools.review.store.keys import Keys, joined, joined_name

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.limits import Room


class Sensors:
    """Keys of sensors by kind, name, source, scope and quality."""

    def __init__(self, engine: Engine, room: Room | None = None) -> None:
        self._keys = Keys(engine, "sensor", room)
        self._told: list[tuple[str, str, str, str, str]] = []
        self._roles = np.zeros(0, dtype=np.int64)

    def reload(self) -> None:
        """Forget what was not committed."""
        self._keys.reload()
        self._told, self._roles = [], np.zeros(0, dtype=np.int64)

    def reload_if_behind(self) -> None:
        """Read again what was added elsewhere."""
        if self._keys.reload_if_behind():
            self._told, self._roles = [], np.zeros(0, dtype=np.int64)

    def given(self, rows: pa.RecordBatch, device: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sensor of each row of the table `reading`, whose devices have these keys, and write the new ones."""
        columns = [rows.column(name) for name in ("kind", "name", "source", "scope", "quality")]
        codes, told = joined(*columns)
        return self._keys.given_of(codes, [joined_name(one) for one in told], device)

    def limit(self, giver: int | None = None) -> str:
        """Return which limit refuses another sensor, of a device."""
        return self._keys.limit(giver)

    def roles(self) -> NDArray[np.int64]:
        """Return the `Role` of each key, by key."""
        if len(self._roles) != len(self._keys):
            self._roles = np.array([_role(*self.told(key)) for key in range(len(self._keys))], dtype=np.int64)
        return self._roles

    def with_role(self, *roles: Role) -> list[int]:
        """Return the keys of sensors that mean one of these."""
        return [int(key) for key in np.flatnonzero(np.isin(self.roles(), roles))]

    def told(self, key: int) -> tuple[str, str, str, str, str]:
        """Return kind, name, source, scope and quality."""
        while len(self._told) <= key:
            name = self._keys.name(len(self._told))
            self._told.append(tuple(json.loads(name)) if name else ("", "", "", "", ""))
        return self._told[key]

    def named(self, names: list[str] | tuple[str, ...]) -> list[int]:
        """Return the keys of sensors with one of these names."""
        return [key for key in range(1, len(self._keys)) if self.told(key)[1] in names]


def _role(kind: str, name: str, source: str, scope: str, quality: str) -> Role:
    del source, quality
    if kind == "system":
        return {"cpu_ratio": Role.CPU_RATIO, "process_rss_bytes": Role.RSS_BYTES}.get(name, Role.NOTHING)
    if kind == "thermal":
        return thermal_role(name)
    if kind != "power":
        return Role.NOTHING
    if name == "inference_gross_joules":
        return Role.JOULES_PER_INFERENCE
    if scope == "battery":
        return Role.NOTHING
    if name.endswith("_watts"):
        return Role.WATTS
    return Role.JOULES_TOTAL if name.endswith("_joules_total") else Role.NOTHING
