"""What the models of a simulated fleet give: classes and how sure they are, counted by the day.

A device sees its own mix of classes, and a day of it is not like another: so frames of one device and day are alike, as
they are in the field, and a test that took them for independent would be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.review.analysis.regroup import group_rows
from host_tools.review.store.windows import OutputTable, Selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.simulation.fleet import Block, SimulatedFleet

CLASSES = 10
BINS = 20
OUTPUT = "scores"
_EVERY_FRAMES = 600
"""Of so many frames one result is published."""
_DEVICE_ALIKE = 60.0
_DAY_ALIKE = 80.0
"""Concentrations of Dirichlet distributions: the larger, the more alike are devices, and days of one."""
_SURE = (9.0, 2.2)
"""Parameters of the beta distribution of how sure a model is."""
_BASE = np.array([0.26, 0.18, 0.14, 0.11, 0.09, 0.07, 0.06, 0.04, 0.03, 0.02])


def table(fleet: SimulatedFleet, selection: Selection, *, by: tuple[str, ...]) -> OutputTable:
    """Return what was given, as a store would; see `TelemetryStore.outputs`."""
    parts = [_block(fleet, fleet.block(number), selection) for number in range(fleet.blocks)]
    keys = {
        axis: np.concatenate([part[0][axis] for part in parts]) for axis in ("time", "device", "artifact")
    }
    counts = np.concatenate([part[1] for part in parts])  # rows by classes by bins
    groups, representatives = group_rows([keys[axis] for axis in by], len(counts))
    merged = np.zeros((len(representatives), CLASSES, BINS), dtype=np.int64)
    np.add.at(merged, groups, counts)
    per_class = merged.sum(axis=2)
    rows, classes = np.nonzero(per_class)
    middles = (np.arange(BINS) + 0.5) / BINS
    confidence = merged[rows, classes]
    return OutputTable(
        axes=by,
        keys=tuple(keys[axis][representatives][rows] for axis in by),
        name=np.full(len(rows), OUTPUT, dtype=object),
        top_index=classes.astype(np.int64),
        count=per_class[rows, classes],
        top_value_sum=confidence @ middles,
        top_value_square_sum=confidence @ middles**2,
        confidence=confidence,
    )


def _block(
    fleet: SimulatedFleet, block: Block, selection: Selection
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Keys and counts of every (device, day, artifact) of a block that is selected."""
    rng = np.random.default_rng([fleet.seed, 4, block.first])
    inside = (block.times >= selection.start - selection.start % 86400) & (block.times < selection.end)
    days = (block.times // 86400 * 86400).astype(np.int64)
    keys: dict[str, list[Any]] = {"time": [], "device": [], "artifact": []}
    counts = []
    for row in range(len(block.alive)):
        device = fleet.devices[block.first + row]
        mix = rng.dirichlet(_BASE * _DEVICE_ALIKE)
        for day in np.unique(days):
            of_day = (days == day) & block.alive[row]
            today = rng.dirichlet(np.maximum(mix, 1e-3) * _DAY_ALIKE)
            for index, digest in enumerate(fleet.artifacts):
                here = of_day & (block.artifact[row] == index)
                frames = int(block.inferences[row][here].sum() // _EVERY_FRAMES)
                drift = fleet.drift_of(block.first + row, index, float(day) + 43200 - fleet.plan.start)
                drawn = _drawn(rng, today, frames, drift)
                wanted = (
                    frames > 0
                    and inside[days == day].any()
                    and (selection.devices is None or device.device in selection.devices)
                    and set(selection.labels) <= set(device.labels)
                    and (selection.artifacts is None or digest in selection.artifacts)
                )
                if wanted:
                    keys["time"].append(day)
                    keys["device"].append(device.device)
                    keys["artifact"].append(digest)
                    counts.append(drawn)
    arrays = {
        "time": np.array(keys["time"], dtype=np.int64),
        "device": np.array(keys["device"], dtype=object),
        "artifact": np.array(keys["artifact"], dtype=object),
    }
    shape = (len(counts), CLASSES, BINS)
    return arrays, np.array(counts, dtype=np.int64).reshape(shape)


def _drawn(
    rng: np.random.Generator, mix: NDArray[np.float64], frames: int, drift: float
) -> NDArray[np.int64]:
    drifted = mix * (1 - drift)
    drifted[0] += drift
    classes = rng.multinomial(frames, drifted / drifted.sum())
    sure = rng.beta(_SURE[0] * (1 - min(drift, 0.8)), _SURE[1], frames)
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    places = np.repeat(np.arange(CLASSES), classes) * BINS + bins
    return np.bincount(places, minlength=CLASSES * BINS).reshape(CLASSES, BINS)
