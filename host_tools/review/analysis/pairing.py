"""Which devices and hours of artifact A are held against which of B.

Every device that ran both is held against itself: speeds differ more between devices than between artifacts. Of these
only hours of the day that both artifacts ran in count, since load and heat have their hours. What changed at the same
time on devices that kept A (weather, load) is no doing of B: it is taken off, where there are enough of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.review.analysis.regroup import chosen, codes, regroup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

_DAY = 86400
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Rows of devices, before and after.

    Attributes:
        devices: Device ids, one for each row of both tables.
        before: One row a device.
        after: One row a device, in the same order.
    """

    devices: tuple[str, ...]
    before: WindowTable
    after: WindowTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What is compared.

    Attributes:
        paired: Devices that ran A and B.
        controls: Devices that ran A all the time, before and after most others changed; empty without axis ``time``.
        only_a: Devices that ran A and never B.
        only_b: Devices that ran B and never A.
        switched_at: Unix time when B began to run, by device, of paired ones; empty without axis ``time``.
    """

    paired: Sides
    controls: Sides
    only_a: WindowTable
    only_b: WindowTable
    switched_at: dict[str, float]


def pair(table: WindowTable, artifact_a: str, artifact_b: str) -> Pairing:
    """Sort windows, told apart by device, artifact and maybe time, into what is compared.

    Raises:
        ValueError: The table has no axis ``device`` or ``artifact``.
    """
    if "device" not in table.axes or "artifact" not in table.axes:
        raise ValueError(
            f"compare: expected windows by device and artifact, got axes {', '.join(table.axes)}"
        )
    artifacts = table.key("artifact")
    is_a, is_b = artifacts == artifact_a, artifacts == artifact_b
    device, names = codes(table.key("device"))
    ran_a, ran_b = _any(device, is_a, len(names)), _any(device, is_b, len(names))
    both = ran_a & ran_b
    switched: dict[str, float] = {}
    controls = _sides(table, np.zeros(len(is_a), bool), np.zeros(len(is_a), bool))
    rows_a, rows_b = is_a & both[device], is_b & both[device]
    if "time" in table.axes:
        times = table.key("time").astype(np.int64)
        first = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(first, device[is_b], times[is_b])
        switched = {names[one]: float(first[one]) for one in np.flatnonzero(both)}
        rows_a, rows_b = _same_hours(table, device, rows_a, rows_b)
        if switched:
            middle = np.median(list(switched.values()))
            kept = is_a & (ran_a & ~ran_b)[device]
            controls = _sides(
                table, *_same_hours(table, device, kept & (times < middle), kept & (times >= middle))
            )
    return Pairing(
        paired=_sides(table, rows_a, rows_b),
        controls=controls,
        only_a=regroup(chosen(table, is_a & (ran_a & ~ran_b)[device]), ("device",)),
        only_b=regroup(chosen(table, is_b & (ran_b & ~ran_a)[device]), ("device",)),
        switched_at=switched,
    )


def _same_hours(
    table: WindowTable, device: NDArray[np.int64], before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Keep the hours of the day that a device has on both sides; windows longer than an hour are all kept."""
    if table.level.seconds > _HOUR:
        return before, after
    key = device * 24 + table.key("time").astype(np.int64) % _DAY // _HOUR
    return before & np.isin(key, key[after]), after & np.isin(key, key[before])


def _sides(table: WindowTable, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Sides:
    sides = [regroup(chosen(table, rows), ("device",)) for rows in (before, after)]
    names: list[NDArray[Any]] = [side.key("device") for side in sides]
    common = sorted(set(names[0].tolist()) & set(names[1].tolist()))
    places = [{name: row for row, name in enumerate(one.tolist())} for one in names]
    rows = [np.array([place[name] for name in common], dtype=np.int64) for place in places]
    return Sides(devices=tuple(common), before=chosen(sides[0], rows[0]), after=chosen(sides[1], rows[1]))


def _any(device: NDArray[np.int64], rows: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(device[rows], minlength=count) > 0)
