"""What the models of a simulated fleet are shown: values of one input, sketched by the day.

Every device sees a scene of its own, and a day of it is brighter or darker than another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from device_agent.contract.telemetry.measurements import INPUT_BUCKETS
from host_tools.review.analysis.regroup import group_rows
from host_tools.review.store.windows import InputTable, Selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.simulation.fleet import SimulatedFleet

INPUT = "image"
_DEVICES_DIFFER, _DAYS_DIFFER = 0.5, 0.1
"""Standard deviations of means, where that of the values is 1."""
_FRAMES, _VALUES = 500, 2000
"""Of a day; of the values of a frame so many are as good as independent."""
_UPPER = 2.0 ** ((np.array(INPUT_BUCKETS) + 1) / 2)
_EDGES = np.concatenate(
    (
        [-np.inf],
        -_UPPER[-2::-1],
        [-(2.0 ** (INPUT_BUCKETS[0] / 2)), 2.0 ** (INPUT_BUCKETS[0] / 2)],
        _UPPER[:-1],
        [np.inf],
    )
)


def table(fleet: SimulatedFleet, selection: Selection, *, by: tuple[str, ...]) -> InputTable:
    """Return what was seen, as a store would; see `TelemetryStore.inputs`."""
    rows: dict[str, list[object]] = {axis: [] for axis in ("device", "artifact", "time")}
    means: list[float] = []
    buckets: list[NDArray[np.int64]] = []
    first = int(selection.start // 86400 * 86400)
    for index, device in enumerate(fleet.devices):
        if selection.devices is not None and device.device not in selection.devices:
            continue
        if not set(selection.labels) <= set(device.labels):
            continue
        own = np.random.default_rng([fleet.seed, 6, index]).normal(0.0, _DEVICES_DIFFER)
        switched = fleet.switched_at(index)
        for day in range(max(first, int(fleet.plan.start)), int(min(selection.end, fleet.plan.end)), 86400):
            artifact = int(switched is not None and day >= switched)
            if selection.artifacts is not None and fleet.artifacts[artifact] not in selection.artifacts:
                continue
            rng = np.random.default_rng([fleet.seed, 7, index, day])
            since = day + 43200 - fleet.plan.start
            moved = fleet.drift_of(index, artifact, since, fault="input_drift")
            mean = own + rng.normal(0.0, _DAYS_DIFFER) + moved
            chance = np.diff(ndtr(_EDGES - mean))
            buckets.append(rng.multinomial(_FRAMES * _VALUES, chance / chance.sum()))
            means.append(mean)
            for axis, value in (
                ("device", device.device),
                ("artifact", fleet.artifacts[artifact]),
                ("time", day),
            ):
                rows[axis].append(value)
    keys = {
        axis: np.array(values, dtype=np.int64 if axis == "time" else object) for axis, values in rows.items()
    }
    groups, representatives = group_rows([keys[axis] for axis in by], len(means))
    count, days = len(representatives), np.bincount(groups, minlength=len(representatives))
    merged = np.zeros((count, len(_EDGES) - 1), dtype=np.int64)
    np.add.at(merged, groups, np.array(buckets, dtype=np.int64).reshape(-1, len(_EDGES) - 1))
    middle = np.bincount(groups, weights=means, minlength=count) / np.maximum(days, 1)
    spread = np.bincount(groups, weights=(np.array(means) - middle[groups]) ** 2, minlength=count)
    return InputTable(
        axes=by,
        keys=tuple(keys[axis][representatives] for axis in by),
        name=np.full(count, INPUT, dtype=object),
        frames=days * _FRAMES,
        values=days * _FRAMES * _VALUES,
        mean=middle,
        deviation=np.sqrt(1.0 + spread / np.maximum(days, 1)),
        minimum=middle - 5.0,
        maximum=middle + 5.0,
        saturated=np.full(count, np.nan),
        buckets=merged,
    )
